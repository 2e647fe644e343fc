package org.shardloom.kernels.cuda;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import org.shardloom.kernels.device.Ops;

/**
 * The operations of one CUDA device for tests that keep tensors in the host's memory. The simulated device takes such addresses, so that guard
 * pages stand around each operand; after every operation it waits for the stream. For a GPU, and with {@code -Dshardloom.test.copies=true}
 * for the simulated device too, operands are copied ({@link CopiedOps}).
 */
public final class SimulatedOps {
    private static Ops ops;

    private SimulatedOps() {}

    /** One device for all tests of a JVM. */
    public static synchronized Ops get() {
        if (ops == null) {
            SimulatedDriver.start(1, 1L << 30, Long.getLong("shardloom.seed", System.nanoTime()), 0);
            boolean copied = !SimulatedDriver.simulated() || Boolean.getBoolean("shardloom.test.copies");
            if (!copied) {
                SimulatedDriver.takeHostMemory(true);
            }
            CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
            ops = of(copied ? new CopiedOps(device) : inPlace(device));
        }
        return ops;
    }

    private static Ops of(InvocationHandler handler) {
        return (Ops) Proxy.newProxyInstance(Ops.class.getClassLoader(), new Class<?>[] {Ops.class}, handler);
    }

    private static InvocationHandler inPlace(CudaDevice device) {
        return (proxy, method, arguments) -> {
            try {
                Object result = method.invoke(device.ops(), arguments);
                device.synchronize();
                return result;
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
        };
    }
}
