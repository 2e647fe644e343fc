package org.shardloom.kernels.plan;

/** What a rank has to do, counted while the engine runs on paper. Thread-safe. */
public final class Work {
    private double matrixFlops;
    private double memoryBytes;
    private long sentBytes;
    private long toHostBytes;
    private long toDeviceBytes;
    private long updatedParameters;

    synchronized void product(double m, double n, double k) {
        matrixFlops += 2 * m * n * k;
    }

    synchronized void touch(double bytes) {
        memoryBytes += bytes;
    }

    synchronized void send(long bytes) {
        sentBytes += bytes;
    }

    synchronized void toHost(long bytes) {
        toHostBytes += bytes;
    }

    synchronized void toDevice(long bytes) {
        toDeviceBytes += bytes;
    }

    synchronized void update(long parameters) {
        updatedParameters += parameters;
    }

    /** Begins anew. */
    public synchronized void reset() {
        matrixFlops = 0;
        memoryBytes = 0;
        sentBytes = 0;
        toHostBytes = 0;
        toDeviceBytes = 0;
        updatedParameters = 0;
    }

    /** Multiplications and additions of matrix products, attention's among them. */
    public synchronized double matrixFlops() {
        return matrixFlops;
    }

    /** Bytes that operations other than matrix products read and write in device memory. */
    public synchronized double memoryBytes() {
        return memoryBytes;
    }

    /** Bytes that this rank sends to others. */
    public synchronized long sentBytes() {
        return sentBytes;
    }

    public synchronized long toHostBytes() {
        return toHostBytes;
    }

    public synchronized long toDeviceBytes() {
        return toDeviceBytes;
    }

    /** Parameters that the optimizer updates on the host. */
    public synchronized long updatedParameters() {
        return updatedParameters;
    }
}
