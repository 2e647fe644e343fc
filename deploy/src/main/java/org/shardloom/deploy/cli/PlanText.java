package org.shardloom.deploy.cli;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.worker.plan.Advice;
import org.shardloom.worker.plan.Fit;
import org.shardloom.worker.plan.HostFit;
import org.shardloom.worker.plan.JobPlan;
import org.shardloom.worker.plan.RankPlan;
import org.shardloom.worker.plan.StepEstimate;

/** A plan as people read it. GB are 10^9 bytes. */
final class PlanText {
    private PlanText() {}

    static List<String> lines(Fit fit) {
        JobPlan plan = fit.plan();
        List<String> lines = new ArrayList<>();
        RankPlan most = plan.ranks().stream()
                .max(Comparator.comparingLong(RankPlan::devicePeakBytes))
                .orElseThrow();
        lines.add(format("model: %,d parameters; trained: %,d", plan.parameters(), plan.trainedParameters()));
        lines.add(format(
                "device memory, each of %d ranks: at most %s (rank %d)",
                plan.ranks().size(), gb(most.devicePeakBytes()), most.rank()));
        if (plan.ranks().size() > 1) {
            lines.add("  by rank: "
                    + plan.ranks().stream()
                            .map(r -> r.rank() + ": " + gb(r.devicePeakBytes()) + " and " + gb(r.pinnedHostBytes())
                                    + " page-locked")
                            .collect(Collectors.joining("; ")));
        }
        lines.add("  of which " + named(byPurpose(most.devicePeakByPurpose())) + ", kept for later "
                + gb(most.unusedBytes()));
        lines.add("  most in use by phase: " + named(most.devicePeakByPhase()));
        lines.add(format(
                "host memory: %s page-locked and some %s pageable (a JVM and its buffers, an estimate) each, %s in all",
                gb(most.pinnedHostBytes()),
                gb(HostFit.PAGEABLE),
                gb(plan.hostBytes() + plan.ranks().size() * HostFit.PAGEABLE)));
        lines.add(format(
                "disk: %s a checkpoint, %s with all that are kept at once; final/: %s",
                gb(plan.checkpointBytes()), gb(plan.retainedBytes()), gb(plan.finalBytes())));
        lines.add(format(
                "sent by each rank in a step: %s; copied to the host %s, from it %s",
                gb(most.work().sentBytes()),
                gb(most.work().toHostBytes()),
                gb(most.work().toDeviceBytes())));
        StepEstimate e = fit.estimate();
        lines.add(format(
                "a step takes %.2f s by estimate, at %s's rates, all ranks on one host: %.2f computing, %.2f "
                        + "communicating%s",
                e.seconds(),
                fit.gpus().card().key(),
                e.compute(),
                e.communication(),
                format(
                        e.ahead() > 0
                                ? " and %.2f copying at once, %.2f in the optimizer from the last backward pass on"
                                : " and %.2f copying at once, then %.2f in the optimizer",
                        e.copies(),
                        e.optimizer())));
        lines.add(format(
                "%s: %s and %s for the driver, cuBLAS and NCCL (an estimate), of %s",
                fit.fits() ? "the job fits" : "the job does NOT fit",
                gb(most.devicePeakBytes()),
                gb(Fit.RESERVED),
                gb(fit.gpus().memoryBytes())));
        lines.add("(nothing of this has been compared with a GPU)");
        return lines;
    }

    /** What would let it fit. */
    static String change(Optional<Advice.Choice> change) {
        return change.map(c -> format(
                        "it would fit with %s: %s each",
                        set(c.overrides()).replaceFirst("--set workers=(\\d+)", "$1 GPUs"),
                        gb(c.fit().plan().devicePeakBytes())))
                .orElse("no micro-batch, recomputation, stage, offload or number of workers up to 64 lets it fit; a "
                        + "shorter data.max_length or a method that trains less may");
    }

    static List<String> choices(List<Advice.Choice> choices) {
        if (choices.isEmpty()) {
            return List.of("no settings fit");
        }
        List<String> lines = new ArrayList<>(List.of("fastest by estimate of those that fit:"));
        for (Advice.Choice c : choices) {
            lines.add(format(
                    "  %.2f s a step, %s each: %s",
                    c.fit().estimate().seconds(), gb(c.fit().plan().devicePeakBytes()), set(c.overrides())));
        }
        return lines;
    }

    private static String set(List<String> overrides) {
        return overrides.stream().map(o -> "--set " + o).collect(Collectors.joining(" "));
    }

    private static Map<String, Long> byPurpose(Map<Purpose, Long> bytes) {
        return bytes.entrySet().stream()
                .filter(e -> e.getValue() > 0)
                .collect(Collectors.toMap(
                        e -> e.getKey().name().toLowerCase(Locale.ROOT),
                        Map.Entry::getValue,
                        Long::sum,
                        java.util.LinkedHashMap::new));
    }

    private static String named(Map<String, Long> bytes) {
        return bytes.entrySet().stream()
                .map(e -> e.getKey() + " " + gb(e.getValue()))
                .collect(Collectors.joining(", "));
    }

    private static String gb(long bytes) {
        return bytes < 10_000_000 ? format("%.2f MB", bytes / 1e6) : format("%.2f GB", bytes / 1e9);
    }

    private static String format(String text, Object... values) {
        return String.format(Locale.ROOT, text, values);
    }
}
