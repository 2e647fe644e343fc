package org.shardloom.worker.loop;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;
import org.shardloom.kernels.collective.nccl.NcclCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cuda.CachedImages;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.CudaException;
import org.shardloom.kernels.cuda.GpuClaim;
import org.shardloom.kernels.device.Device;
import org.shardloom.protocol.config.DeviceChoice;
import org.shardloom.protocol.config.JobConfig;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a process computes on, from its beginning to its end: the processors, or a GPU of its own among the workers of this host. */
public final class WorkerDevice implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(WorkerDevice.class);

    private final Device device;
    private final GpuClaim claim;

    private WorkerDevice(Device device, GpuClaim claim) {
        this.device = device;
        this.claim = claim;
    }

    /**
     * Opens it. Where the job leaves the choice open, it is the processors: who starts a run chooses for all its workers.
     *
     * @param threads of a processor
     * @throws org.shardloom.kernels.cuda.CudaException when there is no GPU left
     */
    static WorkerDevice open(JobConfig job, int threads) {
        if (job.device() != DeviceChoice.CUDA) {
            return ofProcessors(threads);
        }
        if (job.workers() > 1) {
            NcclCollectives.problem().ifPresent(problem -> {
                throw new IllegalStateException(problem);
            });
        }
        return ofGpu();
    }

    /** So many threads of the host's processors. */
    public static WorkerDevice ofProcessors(int threads) {
        return new WorkerDevice(new CpuDevice(threads), null);
    }

    /**
     * The first GPU that no other process of ours has, and that can be opened.
     *
     * @throws CudaException in one line, when there is none
     */
    public static WorkerDevice ofGpu() {
        List<GpuClaim> unusable = new ArrayList<>();
        CudaException failure = null;
        try {
            while (true) {
                GpuClaim claim = GpuClaim.take();
                try {
                    return new WorkerDevice(new CudaDevice(claim.gpu().ordinal(), CachedImages.ofUser()), claim);
                } catch (CudaException e) {
                    unusable.add(claim); // held meanwhile, so that the next one is taken
                    if (!e.concernsOneDevice()) {
                        throw e;
                    }
                    LOG.warn("GPU {} cannot be opened: {}", claim.gpu().ordinal(), e.getMessage());
                    failure = failure == null ? e : failure;
                } catch (RuntimeException | Error e) {
                    claim.close();
                    throw e;
                }
            }
        } catch (CudaException e) {
            throw failure == null ? e : failure;
        } finally {
            unusable.forEach(GpuClaim::close);
        }
    }

    public Device get() {
        return device;
    }

    /** What is left of a GPU's own memory; empty of processors, whose memory is the host's. */
    public OptionalLong freeGpuBytes() {
        return device instanceof CudaDevice gpu ? OptionalLong.of(gpu.freeBytes()) : OptionalLong.empty();
    }

    @Override
    public void close() {
        try {
            device.close();
        } finally {
            if (claim != null) {
                claim.close();
            }
        }
    }
}
