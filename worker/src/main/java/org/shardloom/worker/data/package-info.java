/**
 * Training data: from JSON Lines files to micro-batches.
 *
 * <p>Terms. A <em>record</em> is one line of a data file. A <em>conversation</em> is its content as messages. A
 * <em>sample</em> is a conversation as token ids with labels. A <em>label</em> belongs to the token at its own position;
 * the logits at position t predict label t+1, so the first label is never a target. {@link
 * org.shardloom.worker.data.Sample#IGNORED} marks positions that are not learned. <em>Source</em> is everything before
 * the first learned token. A sample is <em>cut</em> if some of its tokens were left out to fit.
 *
 * <p>{@link org.shardloom.worker.data.DatasetBuilder} reads files, a {@link org.shardloom.worker.data.ChatTemplate}
 * lays tokens out, {@link org.shardloom.worker.data.Dataset} holds the samples, {@link
 * org.shardloom.worker.data.DataOrder} says which comes when. Nothing is padded: {@link org.shardloom.worker.model.PackedBatch} puts
 * the samples of a micro-batch one after the other.
 */
package org.shardloom.worker.data;
