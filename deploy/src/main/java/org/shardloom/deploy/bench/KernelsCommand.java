package org.shardloom.deploy.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.cuda.LaunchTimer;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.plan.Gpus;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom bench kernels}. */
@Command(
        name = "kernels",
        description = {
            "The CUDA kernels at a model's shapes, one micro-batch of one sequence: time between CUDA events around each launch, bytes and "
                    + "operations per second by what the kernel cannot do without, and the share of the floor that follows from the card's peak "
                    + "rates (1: no kernel can be faster).",
            "Every kernel is among them, those of collectives (a part of the gradients of 8 ranks, summed) and of generation (a prompt's "
                    + "attention with a cache) too; cuBLAS is not (bench gemm)."
        },
        mixinStandardHelpOptions = true)
final class KernelsCommand implements Callable<Integer> {
    @Option(
            names = "--config",
            paramLabel = "chatglm3-6b|chatglm-6b|S|M|FILE",
            split = ",",
            defaultValue = "chatglm3-6b,chatglm-6b",
            description =
                    "Models whose shapes are taken, separated by commas; default: ${DEFAULT-VALUE}. ChatGLM2-6B has ChatGLM3-6B's.")
    private List<String> configs;

    @Option(
            names = "--tokens",
            paramLabel = "N",
            defaultValue = "1560",
            description = "Tokens of the sequence; default: ${DEFAULT-VALUE}.")
    private int tokens;

    @Option(
            names = "--precision",
            paramLabel = "bf16|fp16|fp32",
            defaultValue = "bf16",
            description = "Type of weights and activations; default: ${DEFAULT-VALUE}.")
    private String precision;

    @Option(
            names = "--device",
            paramLabel = "cuda",
            defaultValue = "cuda",
            description = "The only device that has such kernels; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(
            names = "--card",
            paramLabel = "NAME",
            description = "Card whose rates are the peak, such as a100-80gb; default: by the GPU's name, with --floors "
                    + KernelFloors.CARD
                    + ".")
    private String card;

    @Option(
            names = "--floors",
            description =
                    "Runs nothing and needs no GPU: bytes and operations of one launch of each kernel, and the floor that follows.")
    private boolean floors;

    @Option(
            names = "--flush",
            paramLabel = "MIB",
            defaultValue = "256",
            description =
                    "Memory that is written before every repetition, so that caches hold nothing of it; default: ${DEFAULT-VALUE}.")
    private int flush;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() {
        common.check();
        common.require(device.equals("cuda"), "--device is cuda, found '" + device + "'");
        common.require(tokens >= 1 && tokens <= 1 << 20, "--tokens is from 1 to 1048576, found " + tokens);
        common.require(flush >= 0 && flush <= 1 << 14, "--flush is from 0 to 16384, found " + flush);
        common.requireCard(card);
        List<DecoderConfig> models = new ArrayList<>();
        DType dtype;
        try {
            configs.forEach(config -> models.add(BenchModel.decoderOf(config)));
            dtype = BenchModel.dtypeOf(precision);
        } catch (IllegalArgumentException e) {
            common.require(false, e.getMessage());
            throw e;
        }
        common.print(floors ? KernelFloors.of(card, configs, models, tokens, dtype) : measured(models, dtype));
        return 0;
    }

    private Report measured(List<DecoderConfig> models, DType dtype) {
        Report report = new Report("kernels");
        try (BenchGpu gpu = BenchGpu.open()) {
            Optional<Gpus.Card> peak = BenchGpu.card(card, gpu.name());
            BenchGpu.describe(report, gpu.name(), peak);
            report.fact("tokens", tokens)
                    .fact("precision", BenchModel.nameOf(dtype))
                    .fact("warmup_steps", common.warmup)
                    .fact("measured_steps", common.steps);
            try (Memory memory = gpu.device().memory(Purpose.WORKSPACE)) {
                Tensor flushed = memory.allocate(DType.F32, Math.max(1, (long) flush << 18));
                for (int m = 0; m < models.size(); m++) {
                    String config = configs.get(m);
                    KernelCases.of(gpu.device(), models.get(m), tokens, dtype)
                            .forEach(c -> measure(report, gpu, config, c, flushed, peak));
                }
            }
        }
        return report;
    }

    /** Each kernel of the operation, by name in the order of the launches; launches of one kernel are added up. */
    private void measure(
            Report report, BenchGpu gpu, String config, KernelCase c, Tensor flushed, Optional<Gpus.Card> peak) {
        Map<String, List<Double>> micros = new LinkedHashMap<>();
        Map<String, Integer> launches = new LinkedHashMap<>();
        try (Memory memory = gpu.device().memory(Purpose.WORKSPACE)) {
            Runnable operation = c.prepare(memory);
            LaunchTimer timer = gpu.device().timer();
            for (int i = 0; i < common.warmup + common.steps; i++) {
                gpu.device().ops().zero(flushed);
                Map<String, Double> sums = new LinkedHashMap<>();
                launches.clear();
                for (LaunchTimer.Launch launch : timer.launches(operation)) {
                    sums.merge(launch.kernel(), launch.micros(), Double::sum);
                    launches.merge(launch.kernel(), 1, Integer::sum);
                }
                if (i >= common.warmup) {
                    sums.forEach((kernel, time) -> micros.computeIfAbsent(kernel, k -> new ArrayList<>())
                            .add(time));
                }
            }
        }
        gpu.device().trim();
        micros.forEach(
                (kernel, times) -> report.row(row(config, c, kernel, launches.get(kernel), Samples.of(times), peak)));
    }

    private static Map<String, Object> row(
            String config, KernelCase c, String kernel, int launches, Samples micros, Optional<Gpus.Card> peak) {
        Optional<KernelCosts.Cost> cost = c.cost(kernel);
        double seconds = micros.median() * 1e-6;
        Optional<Double> floor =
                cost.flatMap(least -> peak.map(card -> launches * least.floorMicros(BenchGpu.rates(card))));
        Optional<Boolean> memory = cost.flatMap(least -> peak.map(card -> least.boundByMemory(BenchGpu.rates(card))));
        return Report.rowOf(
                "config",
                config,
                "operation",
                c.name(),
                "kernel",
                kernel,
                "launches",
                launches,
                "micros",
                micros.median(),
                "micros_min",
                micros.min(),
                "micros_max",
                micros.max(),
                "bytes_per_second",
                cost.<Object>map(least -> launches * least.bytes() / seconds).orElse("-"),
                "gflops_per_second",
                cost.<Object>map(least -> launches * least.operations() / seconds / 1e9)
                        .orElse("-"),
                "floor_micros",
                floor.<Object>map(f -> f).orElse("-"),
                "bound_by",
                memory.map(m -> m ? "memory" : "arithmetic").orElse("-"),
                "share_of_floor",
                floor.<Object>map(f -> f / micros.median()).orElse("-"));
    }
}
