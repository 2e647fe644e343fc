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

    /** What has been counted so far, apart from what will be. */
    public synchronized Work copy() {
        Work copy = new Work();
        copy.add(this, 1);
        return copy;
    }

    /** Counts once more, so many times, what one of two counts has and the other has not. */
    public synchronized void repeat(Work more, Work less, long times) {
        add(more, times);
        add(less, -times);
    }

    private void add(Work other, long times) {
        matrixFlops += times * other.matrixFlops;
        memoryBytes += times * other.memoryBytes;
        sentBytes += times * other.sentBytes;
        toHostBytes += times * other.toHostBytes;
        toDeviceBytes += times * other.toDeviceBytes;
        updatedParameters += times * other.updatedParameters;
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
