package org.shardloom.kernels.cuda.probe;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.shardloom.kernels.cuda.Redist;

/** Looks for the libraries of CUDA's that workers load; needs no GPU. */
public final class CudaLibrariesProbe {
    /** Of matrix products. */
    public static final String CUBLAS = "libcublas.so.12";
    /** Compiles the kernels, and is asked for its version before compiled ones are taken from the cache. */
    public static final String NVRTC = "libnvrtc.so.12";
    /** Loaded by the bindings of NCCL and NVML. */
    public static final String RUNTIME = Library.RUNTIME;

    private CudaLibrariesProbe() {}

    /**
     * What there is of each.
     *
     * @param limit after which a library that does not load is given up
     */
    public static List<CudaLibrary> look(Duration limit) {
        return List.of(
                look(CUBLAS, "cuBLAS", limit), look(NVRTC, "NVRTC", limit), look(RUNTIME, "CUDA runtime", limit));
    }

    private static CudaLibrary look(String file, String name, Duration limit) {
        Optional<String> problem = Limited.call(name, limit, () -> Library.absent(file), Optional::of);
        return new CudaLibrary(file, name, problem, Redist.isOnClassPath(file));
    }
}
