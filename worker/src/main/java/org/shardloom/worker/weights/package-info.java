/**
 * Reading and writing model weights: safetensors files, PyTorch zip checkpoints, and directories of shards.
 *
 * <p>Terms used throughout the package:
 *
 * <ul>
 *   <li><b>tensor</b>: a named, typed, shaped array; {@link org.shardloom.worker.weights.TensorInfo} describes it.
 *   <li><b>element</b>: one value of a tensor. Elements are always numbered in row-major order of the logical shape,
 *       however they lie in the file.
 *   <li><b>raw bytes</b>: elements in the tensor's own dtype, little-endian, row-major.
 *   <li><b>shard</b>: one file of a checkpoint that is spread over several files and tied together by an index.
 * </ul>
 *
 * <p>Every input is treated as hostile: sizes are checked before anything is allocated for them, and a PyTorch pickle
 * is interpreted against an allow-list without ever running anything it names. A file that fails a check ends in
 * {@link org.shardloom.worker.weights.WeightsException}; a caller that breaks a contract gets
 * {@link java.lang.IllegalArgumentException}, {@link java.lang.IllegalStateException} or
 * {@link java.lang.IndexOutOfBoundsException}.
 */
package org.shardloom.worker.weights;
