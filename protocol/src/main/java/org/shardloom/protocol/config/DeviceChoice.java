package org.shardloom.protocol.config;

/** What workers compute on. */
public enum DeviceChoice {
    /** CUDA where a worker's host has a usable GPU, the CPU otherwise. */
    AUTO,
    /** The CPU. */
    CPU,
    /** An NVIDIA GPU per worker. */
    CUDA
}
