package org.shardloom.kernels.cuda;

import java.util.List;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.device.CachingAllocator;

/** The driver's memory of a device. */
final class CudaMemory implements CachingAllocator.Source {
    private final Calls calls;
    private final CUcontext context;

    CudaMemory(Calls calls, CUcontext context) {
        this.calls = calls;
        this.context = context;
    }

    @Override
    public long take(long bytes) {
        enter();
        CUdeviceptr pointer = new CUdeviceptr();
        int result = JCudaDriver.cuMemAlloc(pointer, bytes);
        if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
            return 0;
        }
        calls.check(result, "cuMemAlloc", bytes);
        return Address.of(pointer);
    }

    @Override
    public void giveBack(List<CachingAllocator.Segment> segments) {
        enter();
        // Streams may not be through with them.
        calls.check(JCudaDriver.cuCtxSynchronize(), "cuCtxSynchronize");
        for (CachingAllocator.Segment segment : segments) {
            int result = JCudaDriver.cuMemFree(Address.pointer(segment.address()));
            calls.check(result, "cuMemFree", Long.toHexString(segment.address()));
        }
    }

    @Override
    public String describe() {
        long[] left = new long[1], total = new long[1];
        int result = JCudaDriver.cuMemGetInfo(left, total);
        return result == 0
                ? "%s, of whose %d bytes the driver has %d left".formatted(calls.device(), total[0], left[0])
                : calls.device();
    }

    /** Bytes that the driver has left. */
    long freeBytes() {
        enter();
        long[] left = new long[1];
        calls.check(JCudaDriver.cuMemGetInfo(left, new long[1]), "cuMemGetInfo");
        return left[0];
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }
}
