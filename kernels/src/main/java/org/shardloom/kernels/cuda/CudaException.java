package org.shardloom.kernels.cuda;

/** A call to the driver or to one of NVIDIA's libraries failed; the message has the call, its arguments and the device. */
public final class CudaException extends RuntimeException {
    /** Whose return code it is: each has its own. */
    enum Library {
        DRIVER,
        CUBLAS,
        NVRTC
    }

    private final Library library;
    private final int code;

    CudaException(int code, String message) {
        this(Library.DRIVER, code, message);
    }

    CudaException(Library library, int code, String message) {
        super(message);
        this.library = library;
        this.code = code;
    }

    /** Whether the GPU is the reason, so that another one of the host may do. */
    public boolean concernsOneDevice() {
        return Calls.concernsOneDevice(library, code);
    }

    /** The call's return code: a CUresult, or the cublasStatus or nvrtcResult of a call of cuBLAS or NVRTC. */
    public int code() {
        return code;
    }
}
