package org.shardloom.kernels.cuda;

import jcuda.driver.CUcontext;
import jcuda.driver.CUstream;
import jcuda.driver.CUstream_flags;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Pending;

/**
 * Copies between a device and page-locked host memory on a stream for each direction, beside the compute stream.
 */
final class Copies implements AutoCloseable {
    private final Calls calls;
    private final CUcontext context;
    private final CUstream compute;
    private final Events events;
    private final CUstream toHost = new CUstream();
    private final CUstream toDevice = new CUstream();

    /** The context is current. */
    Copies(Calls calls, CUcontext context, CUstream compute, Events events) {
        this.calls = calls;
        this.context = context;
        this.compute = compute;
        this.events = events;
        calls.check(JCudaDriver.cuStreamCreate(toHost, CUstream_flags.CU_STREAM_NON_BLOCKING), "cuStreamCreate");
        calls.check(JCudaDriver.cuStreamCreate(toDevice, CUstream_flags.CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    }

    /** What has been issued to the compute stream so far. */
    StreamPoint issued() {
        return new StreamPoint(events.record(compute));
    }

    /** Copies on the stream to the host, as soon as the point is reached. */
    Device.Transfer toHost(long host, long source, long bytes, Pending after) {
        if (bytes == 0) {
            return Device.Transfer.DONE;
        }
        holdBack(toHost, after);
        enter();
        int result = JCudaDriver.cuMemcpyDtoHAsync(HostPointer.of(host), Address.pointer(source), bytes, toHost);
        calls.check(result, "cuMemcpyDtoHAsync", Long.toHexString(source), bytes);
        return new StreamTransfer(events.record(toHost), compute);
    }

    /** Copies on the stream to the device, as soon as the point is reached. */
    Device.Transfer toDevice(long destination, long host, long bytes, Pending after) {
        if (bytes == 0) {
            return Device.Transfer.DONE;
        }
        holdBack(toDevice, after);
        enter();
        int result = JCudaDriver.cuMemcpyHtoDAsync(Address.pointer(destination), HostPointer.of(host), bytes, toDevice);
        calls.check(result, "cuMemcpyHtoDAsync", Long.toHexString(destination), bytes);
        return new StreamTransfer(events.record(toDevice), compute);
    }

    private void holdBack(CUstream stream, Pending after) {
        if (after instanceof StreamPoint point) {
            point.event().holdBack(stream);
        } else if (after instanceof CommunicationStream.Operation operation) {
            operation.holdBack(stream);
        } else {
            after.await();
            events.order(compute, stream);
        }
    }

    /** Waits for the copies that were issued. */
    void finish() {
        enter();
        calls.check(JCudaDriver.cuStreamSynchronize(toHost), "cuStreamSynchronize");
        calls.check(JCudaDriver.cuStreamSynchronize(toDevice), "cuStreamSynchronize");
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }

    @Override
    public void close() {
        enter();
        calls.check(JCudaDriver.cuStreamDestroy(toHost), "cuStreamDestroy");
        calls.check(JCudaDriver.cuStreamDestroy(toDevice), "cuStreamDestroy");
    }
}
