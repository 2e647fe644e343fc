package org.shardloom.kernels.cuda.probe;

import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.Loader;

/** Looks whether a library of the host's is there, and has what will be called, before a binding calls it and takes the process along. */
final class Library {
    static final String RUNTIME = "libcudart.so.12";

    private Library() {}

    /** Opens the library as the dynamic linker finds it; where it does not, its words. */
    static Optional<String> absent(String name) {
        try {
            Loader.loadGlobal(name);
            return Optional.empty();
        } catch (UnsatisfiedLinkError e) {
            return Optional.of(e.getMessage());
        }
    }

    /** JavaCPP's bindings of NVML and NCCL load the CUDA runtime's first, and where that is missing name their own file only. */
    static String cause(String problem) {
        return problem.contains("jnicudart") ? absent(RUNTIME).orElse(problem) : problem;
    }

    /** Functions that no library of this process has. */
    static List<String> missing(List<String> functions) {
        return functions.stream()
                .filter(f -> {
                    var address = Loader.addressof(f);
                    return address == null || address.isNull();
                })
                .toList();
    }
}
