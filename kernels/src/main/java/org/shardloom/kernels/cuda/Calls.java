package org.shardloom.kernels.cuda;

import java.util.Arrays;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicReference;
import jcuda.driver.CUresult;
import org.shardloom.kernels.cuda.CudaException.Library;

/** Checks return codes, and remembers whether the device is of any use still. Any thread. */
final class Calls {
    /**
     * After these the process's context is of no use, and cannot be made anew within the process (CUDA Driver API, "Data types used by CUDA
     * driver"), or the device itself is gone, or nobody knows (999). By number: JCuda does not know all.
     */
    private static final Set<Integer> FINAL = Set.of(
            4, // CUDA_ERROR_DEINITIALIZED
            46, // CUDA_ERROR_DEVICE_UNAVAILABLE
            214, // CUDA_ERROR_ECC_UNCORRECTABLE
            220, // CUDA_ERROR_NVLINK_UNCORRECTABLE
            226, // CUDA_ERROR_CONTAINED
            700, // CUDA_ERROR_ILLEGAL_ADDRESS
            702, // CUDA_ERROR_LAUNCH_TIMEOUT
            709, // CUDA_ERROR_CONTEXT_IS_DESTROYED
            710, // CUDA_ERROR_ASSERT
            714, // CUDA_ERROR_HARDWARE_STACK_ERROR
            715, // CUDA_ERROR_ILLEGAL_INSTRUCTION
            716, // CUDA_ERROR_MISALIGNED_ADDRESS
            717, // CUDA_ERROR_INVALID_ADDRESS_SPACE
            718, // CUDA_ERROR_INVALID_PC
            719, // CUDA_ERROR_LAUNCH_FAILED
            721, // CUDA_ERROR_TENSOR_MEMORY_LEAK
            911, // CUDA_ERROR_EXTERNAL_DEVICE
            999); // CUDA_ERROR_UNKNOWN

    private static final int OUT_OF_MEMORY = 2, INVALID_DEVICE = 101;

    /** Of cuBLAS: what it says where a GPU has no memory left, does not suit, or fails. */
    private static final Set<Integer> CUBLAS_OF_ONE_DEVICE = Set.of(
            1, // CUBLAS_STATUS_NOT_INITIALIZED
            3, // CUBLAS_STATUS_ALLOC_FAILED
            8, // CUBLAS_STATUS_ARCH_MISMATCH
            13, // CUBLAS_STATUS_EXECUTION_FAILED
            14); // CUBLAS_STATUS_INTERNAL_ERROR

    private final String device;
    private final AtomicReference<String> lost = new AtomicReference<>();

    /** @param device as messages name it */
    Calls(String device) {
        this.device = device;
    }

    String device() {
        return device;
    }

    /** Fails unless the code is 0. Arguments are for the message. */
    void check(int code, String call, Object... arguments) {
        if (code != CUresult.CUDA_SUCCESS) {
            CudaException failure = failure(Library.DRIVER, code, CUresult.stringFor(code), call, arguments);
            if (FINAL.contains(code)) {
                lose(failure.getMessage());
            }
            throw failure;
        }
    }

    /** Whether a call with that code may well succeed on another GPU of the host. */
    static boolean concernsOneDevice(Library library, int code) {
        return switch (library) {
            case DRIVER -> FINAL.contains(code) || code == OUT_OF_MEMORY || code == INVALID_DEVICE;
            case CUBLAS -> CUBLAS_OF_ONE_DEVICE.contains(code);
            case NVRTC -> false; // it compiles without a GPU
        };
    }

    /** From now on the device is of no use to this process. */
    void lose(String why) {
        lost.compareAndSet(null, why);
    }

    /** Why the device is of no use any more, if so: what was noticed first. */
    Optional<String> lost() {
        return Optional.ofNullable(lost.get());
    }

    CudaException failure(Library library, int code, String name, String call, Object... arguments) {
        String list = Arrays.toString(arguments);
        return new CudaException(
                library,
                code,
                "%s: %s(%s) returned %d, %s".formatted(device, call, list.substring(1, list.length() - 1), code, name));
    }
}
