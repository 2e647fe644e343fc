package org.shardloom.kernels.tensor;

/** Element types of tensors. */
public enum DType {
    F32(0, 4),
    BF16(1, 2),
    F16(2, 2);

    /** The number by which native code knows this type. */
    public final int code;

    /** Size of one element, in bytes. */
    public final int bytes;

    DType(int code, int bytes) {
        this.code = code;
        this.bytes = bytes;
    }
}
