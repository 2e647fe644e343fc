package org.shardloom.deploy;

import java.nio.file.Path;
import java.util.Map;

/** A process of a test that finds the simulated driver, cuBLAS and NCCL where a host has NVIDIA's. No GPU takes part. */
public final class SimulatedGpus {
    private SimulatedGpus() {}

    /**
     * Sets a process up.
     *
     * @param environment of the process
     * @param report where the simulation writes what faults it has seen
     * @param cache of compiled kernels
     */
    public static void of(Map<String, String> environment, int devices, Path report, Path cache) {
        Path libraries =
                Path.of(System.getProperty("shardloom.cuda.simulation")).toAbsolutePath();
        environment.put("LD_LIBRARY_PATH", libraries.toString());
        environment.put("SHARDLOOM_SIM_DEVICES", String.valueOf(devices));
        environment.put("SHARDLOOM_SIM_REPORT", report.toString());
        environment.put("XDG_CACHE_HOME", cache.toString());
    }
}
