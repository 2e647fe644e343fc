package org.shardloom.protocol.config;

/** The type of weights and activations on the device. */
public enum Precision {
    /** bfloat16. */
    BF16,
    /** IEEE half precision, with dynamic loss scaling. */
    FP16,
    /** IEEE single precision. */
    FP32
}
