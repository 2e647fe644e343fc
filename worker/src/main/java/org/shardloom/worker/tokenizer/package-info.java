/**
 * Text to token ids and back.
 *
 * <p>{@link org.shardloom.worker.tokenizer.Tokenizers#open} is the way in. A tokenizer turns plain text into ids and
 * never adds or recognises special tokens by itself: what a user typed is text, whatever it looks like. Layouts that
 * need special tokens (chat templates) ask for their ids by name. Nothing here touches the network or the user's home.
 */
package org.shardloom.worker.tokenizer;
