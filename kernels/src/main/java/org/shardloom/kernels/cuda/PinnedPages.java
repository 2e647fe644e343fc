package org.shardloom.kernels.cuda;

import java.util.HashMap;
import java.util.Map;
import jcuda.driver.CUcontext;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.PageLockedAllocator;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Host memory that a device copies to and from without the processor: pages of our own, locked for it. Used by one thread at a time. */
final class PinnedPages implements PageLockedAllocator.Source {
    private static final Logger LOG = LoggerFactory.getLogger(PinnedPages.class);
    private static final long PAGE = PageLockedAllocator.PAGE;

    private final Calls calls;
    private final CUcontext context;
    /** Where the memory begins that a block lies in, by the block's address. */
    private final Map<Long, Long> origins = new HashMap<>();

    PinnedPages(Calls calls, CUcontext context) {
        this.calls = calls;
        this.context = context;
    }

    /** JCuda's binding of cuMemHostAlloc takes no blocks of 2 GiB and more. */
    @Override
    public long lock(long bytes) {
        long origin = NativeCpu.allocate(bytes + PAGE);
        if (origin == 0) {
            return 0;
        }
        long address = (origin + PAGE - 1) / PAGE * PAGE;
        enter();
        int result = JCudaDriver.cuMemHostRegister(HostPointer.direct(address), bytes, 0);
        if (result != CUresult.CUDA_SUCCESS) {
            NativeCpu.release(origin, bytes + PAGE);
            if (result == CUresult.CUDA_ERROR_OUT_OF_MEMORY) {
                return 0;
            }
            calls.check(result, "cuMemHostRegister", Long.toHexString(address), bytes);
        }
        origins.put(address, origin);
        return address;
    }

    /** A device that has failed, which is what an error would say, copies nothing any more. */
    @Override
    public void settle() {
        enter();
        JCudaDriver.cuCtxSynchronize();
    }

    /** On a failed device as well: the pages go back all the same. */
    @Override
    public void unlock(long address, long bytes) {
        int result = JCudaDriver.cuMemHostUnregister(HostPointer.direct(address));
        if (result != CUresult.CUDA_SUCCESS) {
            LOG.warn("{}: cuMemHostUnregister returned {}", calls.device(), CUresult.stringFor(result));
        }
        NativeCpu.release(origins.remove(address), bytes + PAGE);
    }

    private void enter() {
        calls.check(JCudaDriver.cuCtxSetCurrent(context), "cuCtxSetCurrent");
    }
}
