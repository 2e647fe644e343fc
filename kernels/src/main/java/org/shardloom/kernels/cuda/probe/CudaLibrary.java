package org.shardloom.kernels.cuda.probe;

import java.util.Optional;

/**
 * A library of CUDA's that comes beside the driver.
 *
 * @param file as the dynamic linker knows it
 * @param name as people call it
 * @param problem why the linker does not open it, in one line; nothing where it does
 * @param brought whether the program brings one along, which is taken where the host has none
 */
public record CudaLibrary(String file, String name, Optional<String> problem, boolean brought) {
    /** Whether it is neither on the host nor on the class path. */
    public boolean isMissing() {
        return problem.isPresent() && !brought;
    }
}
