package org.shardloom.kernels.cuda;

import java.util.ArrayList;
import java.util.List;
import jcuda.driver.CUevent;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;

/**
 * Times what runs on a device, by events of CUDA before and after: their resolution is about half a microsecond, and what a launch itself
 * costs is in the time of a short kernel. Only the thread that issues the operations uses it.
 */
public final class LaunchTimer {
    private final Stream stream;
    private final List<Pair> pairs = new ArrayList<>();

    LaunchTimer(Stream stream) {
        this.stream = stream;
    }

    /** One launch of a kernel and how long it took. */
    public record Launch(String kernel, double micros) {}

    private record Pair(String kernel, CUevent before, CUevent after) {}

    /**
     * Runs the operations to their end; every launch among them, in order. What they issue to another stream the compute stream waits for.
     * Nothing else may be issued meanwhile.
     */
    public List<Launch> launches(Runnable operations) {
        try {
            stream.time(this);
            try {
                operations.run();
            } finally {
                stream.time(null);
            }
            stream.synchronize();
            List<Launch> launches = new ArrayList<>();
            for (Pair pair : pairs) {
                launches.add(new Launch(pair.kernel, micros(pair)));
            }
            return launches;
        } finally {
            clear();
        }
    }

    /** Runs the operations, in the compute stream, to their end; the time from the first to the last, launched by this program or by a library. */
    public double micros(Runnable operations) {
        try {
            around("", stream.stream, operations);
            stream.synchronize();
            return micros(pairs.get(0));
        } finally {
            clear();
        }
    }

    /** Issues the operation between two events. */
    void around(String kernel, CUstream on, Runnable operation) {
        stream.enter();
        Pair pair = new Pair(kernel, event(), event());
        pairs.add(pair);
        stream.calls.check(JCudaDriver.cuEventRecord(pair.before, on), "cuEventRecord");
        operation.run();
        stream.calls.check(JCudaDriver.cuEventRecord(pair.after, on), "cuEventRecord");
    }

    private CUevent event() {
        CUevent event = new CUevent();
        stream.calls.check(JCudaDriver.cuEventCreate(event, 0), "cuEventCreate");
        return event;
    }

    private double micros(Pair pair) {
        float[] millis = new float[1];
        int result = JCudaDriver.cuEventElapsedTime(millis, pair.before, pair.after);
        stream.calls.check(result, "cuEventElapsedTime");
        return millis[0] * 1e3;
    }

    private void clear() {
        for (Pair pair : pairs) {
            JCudaDriver.cuEventDestroy(pair.before);
            JCudaDriver.cuEventDestroy(pair.after);
        }
        pairs.clear();
    }
}
