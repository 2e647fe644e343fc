/**
 * NVIDIA GPUs as devices: the driver through JCuda, matrix products through cuBLAS, and the kernels of {@code src/main/cuda}. An operation
 * is a launch on the device's compute stream; what it needs beside its operands is taken from the device's cache in stream order.
 */
package org.shardloom.kernels.cuda;
