package org.shardloom.kernels.cuda;

/** Where compiled kernels come from. */
@FunctionalInterface
public interface KernelImages {
    /**
     * The kernels of {@code src/main/cuda}, compiled: a cubin.
     *
     * @param architecture of the device, as in {@code sm_90}
     * @throws CudaException where they do not compile
     */
    byte[] image(String architecture);
}
