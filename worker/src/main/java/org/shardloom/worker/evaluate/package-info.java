/**
 * How well answers agree with references: pure functions of texts, without a model, an engine or a cluster. {@link
 * org.shardloom.worker.evaluate.Scorer} takes pairs of texts; {@link org.shardloom.worker.evaluate.Rouge} and {@link
 * org.shardloom.worker.evaluate.Bleu} take sequences of units, which {@link org.shardloom.worker.evaluate.Segmentation} cuts
 * texts into. All scores are between 0 and 1.
 */
package org.shardloom.worker.evaluate;
