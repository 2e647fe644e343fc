/** What a device is: memory, operations, one compute stream. Implemented by {@code kernels.cpu}. */
package org.shardloom.kernels.device;
