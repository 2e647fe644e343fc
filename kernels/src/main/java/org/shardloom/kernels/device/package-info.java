/** What a device is: memory, operations, one compute stream. Implemented by {@code kernels.cpu} and {@code kernels.cuda}. */
package org.shardloom.kernels.device;
