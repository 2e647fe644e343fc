package org.shardloom.kernels.plan;

/** What a rank has to do, counted while the engine runs on paper. Used by one thread. */
public final class Work {
    private double matrixFlops;
    private double memoryBytes;
    private long sentBytes;
    private long toHostBytes;
    private long toDeviceBytes;
    private long updatedParameters;

    void product(double m, double n, double k) {
        matrixFlops += 2 * m * n * k;
    }

    void touch(double bytes) {
        memoryBytes += bytes;
    }

    void send(long bytes) {
        sentBytes += bytes;
    }

    void toHost(long bytes) {
        toHostBytes += bytes;
    }

    void toDevice(long bytes) {
        toDeviceBytes += bytes;
    }

    void update(long parameters) {
        updatedParameters += parameters;
    }

    /** Begins anew. */
    public void reset() {
        matrixFlops = 0;
        memoryBytes = 0;
        sentBytes = 0;
        toHostBytes = 0;
        toDeviceBytes = 0;
        updatedParameters = 0;
    }

    /** Multiplications and additions of matrix products, attention's among them. */
    public double matrixFlops() {
        return matrixFlops;
    }

    /** Bytes that operations other than matrix products read and write in device memory. */
    public double memoryBytes() {
        return memoryBytes;
    }

    /** Bytes that this rank sends to others. */
    public long sentBytes() {
        return sentBytes;
    }

    public long toHostBytes() {
        return toHostBytes;
    }

    public long toDeviceBytes() {
        return toDeviceBytes;
    }

    /** Parameters that the optimizer updates on the host. */
    public long updatedParameters() {
        return updatedParameters;
    }
}
