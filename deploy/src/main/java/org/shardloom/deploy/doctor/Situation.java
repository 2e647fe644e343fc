package org.shardloom.deploy.doctor;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.kernels.cuda.probe.GpuState;

/**
 * What the checks look at.
 *
 * @param gpusWanted whether workers are to compute on GPUs
 * @param workers on this host; 0 where that is not known
 * @param severalHosts whether the run has workers on others
 * @param gpus absent where they do not matter
 * @param needs of the job; absent without one
 */
record Situation(
        boolean gpusWanted,
        int workers,
        boolean severalHosts,
        HostFacts host,
        Optional<GpuFacts> gpus,
        Optional<JobNeeds> needs) {
    /** The devices that the driver shows, if it works. */
    Optional<GpuFacts> working() {
        return gpus.filter(g -> g.driver().problem().isEmpty());
    }

    /**
     * The devices that workers get: one each of those that the kernels run on, in the driver's order; all of them where the number of
     * workers is not known, and those that the kernels do not run on where there are no others.
     */
    List<Gpu> used() {
        List<Gpu> all = working().map(g -> g.driver().gpus()).orElse(List.of());
        if (!gpusWanted) {
            return all;
        }
        List<Gpu> fit = working().map(g -> g.driver().fit()).orElse(List.of());
        List<Gpu> candidates = fit.isEmpty() ? all : fit;
        return workers > 0 ? candidates.subList(0, Math.min(workers, candidates.size())) : candidates;
    }

    Optional<GpuState> state(Gpu gpu) {
        return gpus.flatMap(g -> g.nvml().of(gpu));
    }

    /** That of {@link #used} with the least free memory; none where there are none. */
    Optional<Gpu> fullest() {
        return used().stream().min(Comparator.comparingLong(this::free));
    }

    /** Free memory; all of it where nobody knows. */
    long free(Gpu gpu) {
        return state(gpu).map(GpuState::freeBytes).orElse(OptionalLong.empty()).orElse(gpu.totalBytes());
    }
}
