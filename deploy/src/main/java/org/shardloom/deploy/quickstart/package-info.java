/**
 * The quickstart's own task, tokenizer, model and job: everything a first run needs, made from a seed.
 *
 * <p>{@link org.shardloom.deploy.quickstart.QuickstartTask} makes the data,
 * {@link org.shardloom.deploy.quickstart.SentencePieceModelWriter} the tokenizer,
 * {@link org.shardloom.deploy.quickstart.QuickstartModel} the model's configuration, and
 * {@link org.shardloom.deploy.quickstart.QuickstartFiles} puts them on disk beside a job file that uses them.
 */
package org.shardloom.deploy.quickstart;
