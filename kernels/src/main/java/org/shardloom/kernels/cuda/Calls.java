package org.shardloom.kernels.cuda;

import java.util.Arrays;
import jcuda.driver.CUresult;

/**
 * Checks return codes.
 *
 * @param device as messages name it
 */
record Calls(String device) {

    /** Fails unless the code is 0. Arguments are for the message. */
    void check(int code, String call, Object... arguments) {
        if (code != CUresult.CUDA_SUCCESS) {
            throw failure(code, CUresult.stringFor(code), call, arguments);
        }
    }

    CudaException failure(int code, String name, String call, Object... arguments) {
        String list = Arrays.toString(arguments);
        return new CudaException(
                code,
                "%s: %s(%s) returned %d, %s".formatted(device, call, list.substring(1, list.length() - 1), code, name));
    }
}
