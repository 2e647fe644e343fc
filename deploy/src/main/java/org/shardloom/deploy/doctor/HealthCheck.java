package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.kernels.cuda.probe.GpuState;
import org.shardloom.kernels.cuda.probe.GpuState.Throttle;

/** ECC errors, clocks that are held down, GPUs that are lost. */
final class HealthCheck implements Check {
    /** A power limit holds clocks down whenever a GPU works hard. */
    private static final Set<Throttle> HARMLESS = EnumSet.of(Throttle.POWER_LIMIT);

    @Override
    public List<Finding> look(Situation situation) {
        List<Finding> findings = new ArrayList<>();
        for (GpuState lost : situation.gpus().map(g -> g.nvml().gpus()).orElse(List.of())) {
            lost.problem()
                    .ifPresent(problem -> findings.add(Finding.warning(
                            "health",
                            "the GPU that nvidia-smi counts as " + lost.index() + " does not answer: " + problem,
                            "look for Xid in the kernel's log; it may need a reset")));
        }
        for (Gpu gpu : situation.used()) {
            Optional<GpuState> state = situation.state(gpu);
            state.filter(s -> s.problem().isEmpty()).ifPresent(s -> findings.add(of(gpu, s)));
        }
        return findings;
    }

    private static Finding of(Gpu gpu, GpuState state) {
        String name = "GPU " + gpu.ordinal();
        long errors = state.uncorrectedErrors().orElse(0);
        if (errors > 0) {
            return Finding.warning(
                    "health",
                    name + " has had " + errors + " memory errors that ECC could not correct: a run on it may fail",
                    "reset it (nvidia-smi --gpu-reset), and replace it when they come back");
        }
        String heat = state.celsius().isPresent() ? " at " + state.celsius().getAsInt() + " degrees" : "";
        Set<Throttle> slowedBy = state.slowedBy().stream()
                .filter(t -> !HARMLESS.contains(t))
                .collect(Collectors.toCollection(() -> EnumSet.noneOf(Throttle.class)));
        if (!slowedBy.isEmpty()) {
            return Finding.warning(
                    "health",
                    name + heat + " is slowed by "
                            + slowedBy.stream().map(Throttle::words).collect(Collectors.joining(" and by "))
                            + ": every step waits for the slowest GPU",
                    "see to cooling and power supply");
        }
        String ecc = state.ecc().map(on -> on ? "ECC on, no errors" : "ECC off").orElse("no ECC");
        return Finding.ok(
                "health",
                name + heat + ": " + ecc + ", "
                        + (state.slowedBy().isEmpty() ? "clocks free" : "clocks at the power limit"));
    }
}
