package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.collective.nccl.AloneOnDevice;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.Tensor;

/**
 * The device that tests tagged {@code any-device} run on: the CPU, or with {@code -Dshardloom.test.device=cuda-simulation} a CUDA device
 * over the simulated driver.
 */
public final class TestDevices {
    private static final boolean SIMULATION =
            System.getProperty("shardloom.test.device", "cpu").equals("cuda-simulation");

    private TestDevices() {}

    /** Whether it is a CUDA device. */
    static boolean onCuda() {
        return SIMULATION;
    }

    /** A new one; the simulation begins anew. */
    public static Device open() {
        if (!SIMULATION) {
            return new CpuDevice(1);
        }
        SimulatedDriver.start(1, 512L << 20, Long.getLong("shardloom.seed", System.nanoTime()), 20);
        return new CudaDevice(0, SimulatedDriver.images());
    }

    /** A group of one rank on it. */
    public static Collectives alone(Device device) {
        return device instanceof CudaDevice gpu ? new AloneOnDevice(gpu) : new LocalCollectives();
    }

    /** Elements of an fp32 tensor that the engine keeps on the host, where the device has memory of its own. */
    public static float[] hostFloats(Device device, Tensor tensor) {
        if (device.sharesHostMemory()) {
            return Inputs.toFloats(device, tensor);
        }
        FloatBuffer floats = HostBytes.view(tensor.address(), tensor.bytes()).asFloatBuffer();
        float[] values = new float[floats.remaining()];
        floats.get(values);
        return values;
    }

    /** What a step does, and the gradients that it finds, by unit: they are there until the optimizer puts new weights in their place. */
    static float[][] gradients(ZeroEngine engine, Device device, Runnable step) {
        float[][] found = new float[engine.units().size()][];
        engine.observePhases(phase -> {
            if ("optimizer".equals(phase)) {
                Arrays.setAll(
                        found,
                        u -> engine.gradientStays(u)
                                ? Inputs.toFloats(device, engine.gradientSum(u))
                                : hostFloats(device, engine.gradientSum(u)));
            }
        });
        step.run();
        return found;
    }

    /** Fails where a simulation has found a fault; after its device was closed. */
    public static void assertNoFaults() {
        if (SIMULATION) {
            assertEquals(List.of(), SimulatedDriver.reports());
        }
    }
}
