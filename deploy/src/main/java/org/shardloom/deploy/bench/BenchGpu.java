package org.shardloom.deploy.bench;

import java.util.Optional;
import org.shardloom.kernels.cuda.CachedImages;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.GpuClaim;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.plan.Gpus;

/** A GPU that no worker of this host uses meanwhile. */
final class BenchGpu implements AutoCloseable {
    /** What the simulated driver of the tests calls its devices begins so. */
    private static final String SIMULATED = "simulated";

    private final GpuClaim claim;
    private final CudaDevice device;

    private BenchGpu(GpuClaim claim, CudaDevice device) {
        this.claim = claim;
        this.device = device;
    }

    /**
     * Opens the first that is free.
     *
     * @throws org.shardloom.kernels.cuda.CudaException in one line, where there is none
     */
    static BenchGpu open() {
        GpuClaim claim = GpuClaim.take();
        try {
            return new BenchGpu(claim, new CudaDevice(claim.gpu().ordinal(), CachedImages.ofUser()));
        } catch (RuntimeException | Error e) {
            claim.close();
            throw e;
        }
    }

    CudaDevice device() {
        return device;
    }

    /** As the driver names it. */
    String name() {
        return claim.gpu().name();
    }

    /** The card whose rates figures are held against: that of the key, or else the one that the driver's name tells; nothing where it does not. */
    static Optional<Gpus.Card> card(String key, String name) {
        return key == null ? Gpus.cardNamed(name) : Gpus.card(key);
    }

    /** Says what the figures are of: a simulated GPU's mean nothing. */
    static void describe(Report report, String name, Optional<Gpus.Card> card) {
        report.fact("gpu", name).fact("simulated", name.startsWith(SIMULATED));
        if (name.startsWith(SIMULATED)) {
            report.fact(
                    "note",
                    "SIMULATED: threads of the host stand for a GPU; no time or rate here says anything of one");
        }
        report.fact(
                "card",
                card.map(Gpus.Card::key).orElse("unknown: no figure is held against a peak; name one with --card"));
    }

    /** What the card does in a second at most. */
    static KernelCosts.Rates rates(Gpus.Card card) {
        return new KernelCosts.Rates(
                card.memoryGigabytes() * 1e9, card.singleTeraflops() * 1e12, card.halfTeraflops() * 1e12);
    }

    /** Operations of matrix products that the card does in a second at most. */
    static double peak(Gpus.Card card, DType dtype) {
        return 1e12 * (dtype == DType.F32 ? card.singleTeraflops() : card.halfTeraflops());
    }

    @Override
    public void close() {
        try {
            device.close();
        } finally {
            claim.close();
        }
    }
}
