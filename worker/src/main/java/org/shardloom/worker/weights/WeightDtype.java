package org.shardloom.worker.weights;

import java.util.Optional;

/** Element types of stored tensors. Constant names equal the dtype names of the safetensors format. */
public enum WeightDtype {
    /** IEEE 754 binary32. */
    F32(4, true),
    /** IEEE 754 binary16. */
    F16(2, true),
    /** The upper half of a binary32: 8 exponent bits, 7 fraction bits. */
    BF16(2, true),
    /** IEEE 754 binary64. */
    F64(8, true),
    /** Signed 64-bit integer. */
    I64(8, false),
    /** Signed 32-bit integer. */
    I32(4, false),
    /** Signed 16-bit integer. */
    I16(2, false),
    /** Signed 8-bit integer. */
    I8(1, false),
    /** Unsigned 8-bit integer. */
    U8(1, false),
    /** One byte, 0 for false and 1 for true. */
    BOOL(1, false);

    private final int byteSize;
    private final boolean floating;

    WeightDtype(int byteSize, boolean floating) {
        this.byteSize = byteSize;
        this.floating = floating;
    }

    /** Returns the size of one element in bytes. */
    public int byteSize() {
        return byteSize;
    }

    /** Returns whether elements are floating-point numbers and may be read as float32. */
    public boolean isFloating() {
        return floating;
    }

    /** Returns the name of this dtype in a safetensors header. */
    public String safetensorsName() {
        return name();
    }

    /** Returns the dtype with the given safetensors name, or empty where this package does not support it. */
    public static Optional<WeightDtype> fromSafetensorsName(String name) {
        for (WeightDtype dtype : values()) {
            if (dtype.name().equals(name)) {
                return Optional.of(dtype);
            }
        }
        return Optional.empty();
    }
}
