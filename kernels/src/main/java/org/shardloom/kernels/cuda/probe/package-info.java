/**
 * What a host has of NVIDIA's: driver, devices, their state by NVML, NCCL. Every look gives facts or the reason why there are none; none
 * throws, and none opens a context on a device.
 */
package org.shardloom.kernels.cuda.probe;
