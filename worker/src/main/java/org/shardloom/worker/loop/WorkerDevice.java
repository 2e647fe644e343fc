package org.shardloom.worker.loop;

import java.util.ArrayList;
import java.util.List;
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

/** What a worker computes on, from the beginning of its process to the end: the processors, or a GPU of its own. */
final class WorkerDevice implements AutoCloseable {
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
            return new WorkerDevice(new CpuDevice(threads), null);
        }
        if (job.workers() > 1) {
            NcclCollectives.problem().ifPresent(problem -> {
                throw new IllegalStateException(problem);
            });
        }
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

    Device get() {
        return device;
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
