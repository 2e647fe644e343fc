package org.shardloom.deploy.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Device;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.StepResult;
import org.shardloom.worker.zero.ZeroEngine;

/** Training steps of one rank, over random tokens with a target on each. */
final class StepRank {
    private static final double LEARNING_RATE = 1e-4;

    private StepRank() {}

    /**
     * What the ranks do.
     *
     * @param threads of each rank
     * @param device {@code cpu}, or {@code cuda}: each rank on a GPU of its own
     */
    record Setup(BenchModel model, int threads, int warmup, int steps, long seed, String device) {}

    /**
     * What one rank measured.
     *
     * @param stepSeconds of each measured step
     * @param phaseSeconds of each measured step, by phase
     * @param cpuSeconds of all of the process's threads over the measured steps: hardly disturbed by what else runs
     * @param loss of the last step
     * @param setupSeconds from the start of the rank to its first step
     * @param memoryBytes of the process when it has done its steps, by kind
     * @param allocatedBytes at the device's peak, by purpose; of processors, collectives' buffers are not among them
     * @param gpu as the driver names it; null for processors
     */
    record Result(
            List<Double> stepSeconds,
            List<Map<String, Double>> phaseSeconds,
            double cpuSeconds,
            double loss,
            double setupSeconds,
            long peakRssBytes,
            Map<String, Long> memoryBytes,
            Map<String, Long> allocatedBytes,
            String gpu) {}

    static Result run(Setup setup, Function<Device, Collectives> joining) throws IOException {
        long started = System.nanoTime();
        if (setup.device.equals("cuda")) {
            // The optimizer's.
            NativeCpu.useThreads(setup.threads);
            try (BenchGpu gpu = BenchGpu.open()) {
                return run(setup, started, gpu.device(), gpu.name(), joining);
            }
        }
        try (CpuDevice device = new CpuDevice(setup.threads)) {
            return run(setup, started, device, null, joining);
        }
    }

    private static Result run(
            Setup setup, long started, Device device, String gpu, Function<Device, Collectives> joining)
            throws IOException {
        BenchModel model = setup.model;
        try (Collectives group = joining.apply(device);
                ZeroEngine engine = new ZeroEngine(model.tuned(), model.engine(), device, group)) {
            StartWeights.fillAll(
                    new ModelConfigSource(Path.of("."), ModelConfigSource.Init.RANDOM, Optional.empty()),
                    setup.seed,
                    engine);
            engine.publishMaster();
            Random random = new Random(setup.seed * 31 + group.rank());
            double divisor = (double) model.tokens() * group.size();
            double setupSeconds = 0;
            double loss = Double.NaN;
            double cpuBefore = 0;
            List<Double> seconds = new ArrayList<>();
            List<Map<String, Double>> phases = new ArrayList<>();
            for (int i = 0; i < setup.warmup + setup.steps; i++) {
                // A key that is not 0: with dropout, where the method has dropout.
                StepInput input = new StepInput(
                        List.of(batch(model, random)), List.of(divisor), List.of(i + 1L), 1, LEARNING_RATE);
                setupSeconds = i == 0 ? (System.nanoTime() - started) * 1e-9 : setupSeconds;
                cpuBefore = i == setup.warmup ? ProcessUsage.cpuSeconds() : cpuBefore;
                long start = System.nanoTime();
                StepResult result = engine.step(input);
                if (i >= setup.warmup) {
                    seconds.add((System.nanoTime() - start) * 1e-9);
                    phases.add(result.seconds());
                }
                loss = result.loss();
            }
            double cpuSeconds = ProcessUsage.cpuSeconds() - cpuBefore;
            Map<String, Long> allocated = new LinkedHashMap<>();
            device.statistics()
                    .peakByPurpose()
                    .forEach((purpose, bytes) ->
                            allocated.put(purpose.name().toLowerCase(java.util.Locale.ROOT), bytes));
            return new Result(
                    seconds,
                    phases,
                    cpuSeconds,
                    loss,
                    setupSeconds,
                    NativeCpu.residentBytes(true),
                    ProcessUsage.read(),
                    allocated,
                    gpu);
        }
    }

    /** Sequences of random tokens; every token has a target. */
    private static PackedBatch batch(BenchModel model, Random random) {
        int tokens = model.tokens();
        int vocabulary = model.decoder().vocabulary();
        return new PackedBatch(
                random.ints(tokens, 0, vocabulary).toArray(),
                IntStream.range(0, tokens).map(t -> t % model.sequence()).toArray(),
                IntStream.rangeClosed(0, model.microBatch())
                        .map(s -> s * model.sequence())
                        .toArray(),
                IntStream.range(0, tokens).toArray(),
                random.ints(tokens, 0, vocabulary).toArray());
    }
}
