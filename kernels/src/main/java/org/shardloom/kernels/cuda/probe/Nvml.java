package org.shardloom.kernels.cuda.probe;

import java.util.List;
import java.util.Optional;

/**
 * What NVIDIA's management library says: of all GPUs of the host, whatever CUDA_VISIBLE_DEVICES leaves.
 *
 * @param problem why it says nothing, in one line
 * @param driver the driver's own version, such as 560.35.03
 */
public record Nvml(Optional<String> problem, String driver, List<GpuState> gpus) {
    public Nvml {
        gpus = List.copyOf(gpus);
    }

    static Nvml without(String problem) {
        return new Nvml(Optional.of(problem), "", List.of());
    }

    /** The state of a device of the driver's. */
    public Optional<GpuState> of(Gpu gpu) {
        return gpus.stream()
                .filter(state -> same(state.pciBusId(), gpu.pciBusId()) || same(state.uuid(), gpu.uuid()))
                .findFirst();
    }

    private static boolean same(String one, String other) {
        return !one.isEmpty() && one.equals(other);
    }
}
