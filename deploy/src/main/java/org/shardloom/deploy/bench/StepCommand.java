package org.shardloom.deploy.bench;

import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;
import org.shardloom.worker.plan.Gpus;
import org.shardloom.worker.tuning.TuningException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom bench step}. */
@Command(
        name = "step",
        description = {
            "Training steps: forward, backward and AdamW over random tokens with a loss on each, every worker in a process of its own. "
                    + "Logits and losses count as forward, recomputed activations as backward; on GPUs phases are the host's time, "
                    + "in which their work is issued or waited for.",
            "S: hidden size 512, 8 layers, vocabulary 8192, micro-batch 8 of 256 tokens. M: 1024, 12, 65024, 2 of 512.",
            "A job file also says what is trained (method), and on GPUs where the optimizer's state and the parameters lie and who adds gradients (zero).",
            "With --device cuda each worker has a GPU of its own, and mfu is the model's matrix products (attention's among them; recomputed "
                    + "activations not) by the median step's time and the card's dense peak for the precision."
        },
        mixinStandardHelpOptions = true)
final class StepCommand implements Callable<Integer> {
    @Option(
            names = "--config",
            paramLabel = "S|M|FILE",
            defaultValue = "S",
            description = "A model of this command's own, or a job file; default: ${DEFAULT-VALUE}.")
    private String config;

    @Option(
            names = "--workers",
            paramLabel = "N",
            defaultValue = "1",
            description = "Processes, with a micro-batch each; default: ${DEFAULT-VALUE}.")
    private int workers;

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description = "CPU threads of each worker; default: the processors divided by the workers.")
    private int threads;

    @Option(
            names = "--recompute",
            negatable = true,
            arity = "0",
            description =
                    "Whether activations are recomputed in the backward pass; default: no, or as the job file says.")
    private Boolean recompute;

    @Option(
            names = "--stage",
            paramLabel = "2|3",
            description = "What is sharded (ZeRO); default: 3, or as the job file says.")
    private Integer stage;

    @Option(
            names = "--method",
            paramLabel = "full|freeze|lora|qlora|p_tuning|p_tuning_v2",
            description =
                    "What is trained, with the defaults of its options (freeze: the last layer); default: full, or as the job file says.")
    private String method;

    @Option(
            names = "--precision",
            paramLabel = "bf16|fp16|fp32",
            description = "Type of weights and activations; default: bf16, or as the job file says.")
    private String precision;

    @Option(
            names = "--device",
            paramLabel = "cpu|cuda",
            defaultValue = "cpu",
            description = "Where workers compute; default: ${DEFAULT-VALUE}.")
    private String device;

    @Option(
            names = "--card",
            paramLabel = "NAME",
            description = "With cuda: card whose rates are the peak, such as a100-80gb; default: by the GPU's name.")
    private String card;

    @Option(
            names = "--transport",
            paramLabel = "shm|aeron",
            defaultValue = "shm",
            description = "What carries the collectives of processors (GPUs: NCCL); default: ${DEFAULT-VALUE}.")
    private String transport;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1234",
            description = "Of weights and tokens; default: ${DEFAULT-VALUE}.")
    private long seed;

    @Option(
            names = "--time-limit",
            paramLabel = "SECONDS",
            defaultValue = "3600",
            description = "Ends what takes longer; default: ${DEFAULT-VALUE}.")
    private long timeLimitSeconds;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() throws Exception {
        common.check();
        common.require(workers >= 1 && workers <= 64, "--workers is from 1 to 64, found " + workers);
        common.require(stage == null || stage == 2 || stage == 3, "--stage is 2 or 3, found " + stage);
        common.require(
                method == null || method.matches("full|freeze|lora|qlora|p_tuning|p_tuning_v2"),
                "--method is full, freeze, lora, qlora, p_tuning or p_tuning_v2, found '" + method + "'");
        common.require(transport.matches("shm|aeron"), "--transport is shm or aeron, found '" + transport + "'");
        common.require(device.matches("cpu|cuda"), "--device is cpu or cuda, found '" + device + "'");
        common.requireCard(card);
        BenchModel model = model();
        int each = common.threads(threads, workers);
        Report report = new Report("step")
                .fact("config", config)
                .fact("parameters", model.parameters())
                .fact("method", model.method().type().name().toLowerCase(Locale.ROOT))
                .fact("sequence", model.sequence())
                .fact("micro_batch", model.microBatch())
                .fact("workers", workers)
                .fact("threads", each)
                .fact("stage", model.stage())
                .fact("recompute", model.recompute())
                .fact("precision", BenchModel.nameOf(model.dtype()))
                .fact("device", device)
                .fact("transport", workers == 1 ? "local" : device.equals("cuda") ? "nccl" : transport)
                .fact("warmup_steps", common.warmup)
                .fact("measured_steps", common.steps);
        StepRank.Setup setup = new StepRank.Setup(model, each, common.warmup, common.steps, seed, device);
        RankTask task = new RankTask(workers, transport, RankProcesses.secret(), setup, null);
        fill(report, model, RankProcesses.run(task, StepRank.Result.class, Duration.ofSeconds(timeLimitSeconds)));
        common.print(report);
        return 0;
    }

    private BenchModel model() {
        try {
            BenchModel model = BenchModel.of(config).with(precision, stage, recompute, method);
            model.tuned(); // a method that does not go with the model is refused here
            return model;
        } catch (IllegalArgumentException | TuningException e) {
            common.require(false, e.getMessage());
            throw e;
        }
    }

    private void fill(Report report, BenchModel model, List<StepRank.Result> ranks) {
        Samples step = steps(i ->
                ranks.stream().mapToDouble(r -> r.stepSeconds().get(i)).max().orElseThrow());
        double tokens = (double) model.tokens() * workers;
        if (device.equals("cuda")) {
            utilisation(report, model, ranks, step.median());
        }
        report.fact("tokens_per_second", tokens / step.median())
                .fact("tokens_per_second_min", tokens / step.max())
                .fact("tokens_per_second_max", tokens / step.min())
                .fact("step_ms", step.median() * 1e3)
                .fact("step_ms_min", step.min() * 1e3)
                .fact("step_ms_max", step.max() * 1e3);
        for (String phase : List.of("forward", "backward", "optimizer", "communication")) {
            Samples mean = steps(i -> ranks.stream()
                    .mapToDouble(r -> r.phaseSeconds().get(i).getOrDefault(phase, 0.0))
                    .average()
                    .orElseThrow());
            report.fact(phase + "_ms", mean.median() * 1e3);
        }
        report.fact(
                        "cpu_ms",
                        ranks.stream().mapToDouble(StepRank.Result::cpuSeconds).sum() / common.steps * 1e3)
                .fact("peak_rss_bytes", each(ranks, StepRank.Result::peakRssBytes))
                .fact(
                        "setup_seconds",
                        Samples.of(ranks.stream()
                                        .map(StepRank.Result::setupSeconds)
                                        .toList())
                                .max())
                .fact("loss", ranks.get(0).loss())
                .fact("resident_bytes_after", withUnit(ranks.get(0).memoryBytes()))
                .fact("allocated_bytes_at_peak", withUnit(ranks.get(0).allocatedBytes()));
    }

    private void utilisation(Report report, BenchModel model, List<StepRank.Result> ranks, double seconds) {
        List<String> names =
                ranks.stream().map(StepRank.Result::gpu).distinct().sorted().toList();
        String name = names.size() == 1 || names.stream().allMatch(n -> n.startsWith("simulated"))
                ? names.get(0)
                : String.join(", ", names);
        Optional<Gpus.Card> peak = BenchGpu.card(card, name);
        double flops = ModelFlops.ofStep(model);
        BenchGpu.describe(report, name, peak);
        report.fact("offload_optimizer", model.placement().optimizerOnHost())
                .fact("offload_params", model.placement().parametersOnHost())
                .fact("fixed_order", model.fixedOrder())
                .fact("model_gflops_per_step_of_a_worker", flops / 1e9)
                .fact("model_gflops_per_second_of_a_worker", flops / seconds / 1e9)
                .fact(
                        "mfu",
                        peak.<Object>map(c -> flops / seconds / BenchGpu.peak(c, model.dtype()))
                                .orElse("not known"));
    }

    private Samples steps(ToDoubleFunction<Integer> value) {
        return Samples.of(IntStream.range(0, common.steps)
                .mapToDouble(i -> value.applyAsDouble(i))
                .toArray());
    }

    private static List<Long> each(
            List<StepRank.Result> ranks, java.util.function.Function<StepRank.Result, Long> value) {
        return ranks.stream().map(value).toList();
    }

    private static Map<String, Object> withUnit(Map<String, Long> bytes) {
        Map<String, Object> named = new java.util.LinkedHashMap<>();
        bytes.forEach((name, value) -> named.put(name + "_bytes", value));
        return named;
    }
}
