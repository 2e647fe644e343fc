package org.shardloom.kernels.cuda;

/** A call to the driver or to one of NVIDIA's libraries failed; the message has the call, its arguments and the device. */
public final class CudaException extends RuntimeException {
    private final int code;

    CudaException(int code, String message) {
        super(message);
        this.code = code;
    }

    /** Whether the GPU is the reason, so that another one of the host may do. */
    public boolean concernsOneDevice() {
        return Calls.concernsOneDevice(code);
    }

    /** The call's return code: a CUresult, or a cublasStatus where the message names cuBLAS. */
    public int code() {
        return code;
    }
}
