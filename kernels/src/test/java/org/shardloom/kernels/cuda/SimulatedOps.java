package org.shardloom.kernels.cuda;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import org.shardloom.kernels.device.Ops;

/**
 * The operations of one simulated CUDA device for tests that keep tensors in the host's memory, where guard pages stand around each: after
 * every operation they wait for the stream. On a GPU such addresses would not do.
 */
public final class SimulatedOps {
    private static Ops ops;

    private SimulatedOps() {}

    /** One device for all tests of a JVM. */
    public static synchronized Ops get() {
        if (ops == null) {
            SimulatedDriver.start(1, 1L << 30, Long.getLong("shardloom.seed", System.nanoTime()), 0);
            SimulatedDriver.takeHostMemory(true);
            CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
            ops = (Ops) Proxy.newProxyInstance(
                    Ops.class.getClassLoader(), new Class<?>[] {Ops.class}, (proxy, method, arguments) -> {
                        try {
                            Object result = method.invoke(device.ops(), arguments);
                            device.synchronize();
                            return result;
                        } catch (InvocationTargetException e) {
                            throw e.getCause();
                        }
                    });
        }
        return ops;
    }
}
