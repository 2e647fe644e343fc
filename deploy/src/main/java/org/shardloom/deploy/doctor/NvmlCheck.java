package org.shardloom.deploy.doctor;

import java.util.List;

/** NVIDIA's management library. Nothing that trains needs it. */
final class NvmlCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        if (situation.working().isEmpty()) {
            return List.of();
        }
        return situation.working().get().nvml().problem().stream()
                .map(
                        problem -> Finding.warning(
                                "nvml",
                                "NVML says nothing (" + problem
                                        + "): ECC errors, throttling, NVLinks, free memory and who holds it stay unknown",
                                "see that libnvidia-ml.so.1 of the driver's own version is there, and whether nvidia-smi works"))
                .toList();
    }
}
