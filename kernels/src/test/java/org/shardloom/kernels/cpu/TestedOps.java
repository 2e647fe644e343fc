package org.shardloom.kernels.cpu;

import org.shardloom.kernels.cuda.SimulatedOps;
import org.shardloom.kernels.device.Ops;

/**
 * The operations that tests tagged {@code any-device} check against one reference: the processor's, or, with {@code
 * -Dshardloom.test.device=cuda-simulation}, those of a CUDA device over the simulated driver.
 */
final class TestedOps {
    private TestedOps() {}

    private static String device() {
        return System.getProperty("shardloom.test.device", "cpu");
    }

    /** Whether they are those of a CUDA device, whose kernels round where the processor's do not. */
    static boolean onCuda() {
        return !device().equals("cpu");
    }

    static Ops get() {
        String device = device();
        return switch (device) {
            case "cpu" -> new CpuOps();
            case "cuda-simulation" -> SimulatedOps.get();
            default -> throw new IllegalArgumentException("no tests for the device " + device);
        };
    }
}
