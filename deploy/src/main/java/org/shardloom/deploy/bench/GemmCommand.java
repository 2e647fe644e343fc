package org.shardloom.deploy.bench;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.Callable;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cuda.LaunchTimer;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.plan.Gpus;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom bench gemm}. */
@Command(
        name = "gemm",
        description =
                "Matrix products of a model's linear layers, as a training step does them: forward, input gradient, and weight gradient "
                        + "(in fp32), for one micro-batch. The output head is cut into chunks of tokens.",
        mixinStandardHelpOptions = true)
final class GemmCommand implements Callable<Integer> {
    @Option(
            names = "--config",
            paramLabel = "S|M|FILE",
            split = ",",
            defaultValue = "S,M",
            description = "Models whose shapes are taken, separated by commas; default: ${DEFAULT-VALUE}.")
    private List<String> configs;

    @Option(
            names = "--precision",
            paramLabel = "fp32|bf16|fp16",
            split = ",",
            defaultValue = "fp32,bf16",
            description = "Types, separated by commas; default: ${DEFAULT-VALUE}.")
    private List<String> precisions;

    @Option(
            names = "--threads",
            paramLabel = "N",
            defaultValue = "0",
            description = "CPU threads; default: all processors.")
    private int threads;

    @Option(
            names = "--device",
            paramLabel = "cpu|cuda",
            defaultValue = "cpu",
            description =
                    "Where they are computed; cuda: by cuBLAS, timed between CUDA events; default: ${DEFAULT-VALUE}.")
    private String where;

    @Option(
            names = "--card",
            paramLabel = "NAME",
            description = "With cuda: card whose rates are the peak, such as a100-80gb; default: by the GPU's name.")
    private String card;

    @Mixin
    private CommonOptions common;

    /** Where the products run, and what it can do at most. */
    private record Target(Device device, LaunchTimer timer, Optional<Gpus.Card> card) {
        Samples time(int warmup, int steps, Runnable product) {
            if (timer == null) {
                return Samples.time(warmup, steps, product);
            }
            for (int i = 0; i < warmup; i++) {
                product.run();
            }
            double[] seconds = new double[steps];
            for (int i = 0; i < steps; i++) {
                seconds[i] = timer.micros(product) * 1e-6;
            }
            return Samples.of(seconds);
        }
    }

    /** y[tokens, out] = x[tokens, in] weight[out, in]^T. */
    private record Shape(String name, long tokens, long out, long in, boolean head) {}

    @Override
    public Integer call() {
        common.check();
        int count = common.threads(threads, 1);
        List<BenchModel> models;
        List<DType> dtypes;
        try {
            models = configs.stream().map(BenchModel::of).toList();
            dtypes = precisions.stream().map(BenchModel::dtypeOf).toList();
        } catch (IllegalArgumentException e) {
            common.require(false, e.getMessage());
            throw e;
        }
        common.require(where.matches("cpu|cuda"), "--device is cpu or cuda, found '" + where + "'");
        common.requireCard(card);
        Report report = new Report("gemm")
                .fact("device", where)
                .fact("threads", count)
                .fact("warmup_steps", common.warmup)
                .fact("measured_steps", common.steps);
        if (where.equals("cuda")) {
            try (BenchGpu gpu = BenchGpu.open()) {
                Optional<Gpus.Card> peak = BenchGpu.card(card, gpu.name());
                BenchGpu.describe(report, gpu.name(), peak);
                measure(report, new Target(gpu.device(), gpu.device().timer(), peak), models, dtypes);
            }
        } else {
            try (CpuDevice device = new CpuDevice(count)) {
                measure(report, new Target(device, null, Optional.empty()), models, dtypes);
            }
        }
        common.print(report);
        return 0;
    }

    private void measure(Report report, Target target, List<BenchModel> models, List<DType> dtypes) {
        for (BenchModel model : models) {
            for (Shape shape : shapes(model)) {
                for (DType dtype : dtypes) {
                    measure(report, target, model.name(), shape, dtype);
                }
            }
        }
    }

    private static List<Shape> shapes(BenchModel model) {
        DecoderConfig c = model.decoder();
        long tokens = model.tokens();
        List<Shape> shapes = new ArrayList<>();
        shapes.add(new Shape("qkv", tokens, c.attention().qkvWidth(), c.hidden(), false));
        shapes.add(
                new Shape("attention_output", tokens, c.hidden(), c.attention().contextWidth(), false));
        shapes.add(new Shape("gate_up", tokens, 2L * c.feedForward(), c.hidden(), false));
        shapes.add(new Shape("down", tokens, c.hidden(), c.feedForward(), false));
        long chunk = Math.min(tokens, Decoder.headRows(c.vocabulary()));
        shapes.add(new Shape("head", chunk, c.vocabulary(), c.hidden(), true));
        return shapes;
    }

    private void measure(Report report, Target target, String config, Shape s, DType dtype) {
        Device device = target.device;
        Ops ops = device.ops();
        try (Memory memory = device.memory(Purpose.WORKSPACE)) {
            Tensor x = random(device, memory, dtype, s.tokens, s.in);
            Tensor weight = random(device, memory, dtype, s.out, s.in);
            Tensor gradY = random(device, memory, dtype, s.tokens, s.out);
            Tensor y = memory.allocate(s.head ? DType.F32 : dtype, s.tokens, s.out);
            Tensor gradX = memory.allocate(dtype, s.tokens, s.in);
            Tensor gradWeight = memory.allocate(DType.F32, s.out, s.in);
            row(report, target, config, s, dtype, "forward", () -> ops.linear(y, x, weight));
            row(
                    report,
                    target,
                    config,
                    s,
                    dtype,
                    "input_gradient",
                    () -> ops.linearBackwardInput(gradX, gradY, weight, false));
            // The head's chunks after the first add to what is there.
            ops.zero(gradWeight);
            row(
                    report,
                    target,
                    config,
                    s,
                    dtype,
                    "weight_gradient",
                    () -> ops.linearBackwardWeight(gradWeight, gradY, x, s.head));
        }
        device.trim();
    }

    private void row(Report report, Target target, String config, Shape s, DType dtype, String pass, Runnable product) {
        Samples seconds = target.time(common.warmup, common.steps, product);
        double flops = 2.0 * s.tokens * s.out * s.in;
        Map<String, Object> row = Report.rowOf(
                "config",
                config,
                "layer",
                s.name,
                "tokens",
                s.tokens,
                "outputs",
                s.out,
                "inputs",
                s.in,
                "precision",
                BenchModel.nameOf(dtype),
                "pass",
                pass,
                "seconds",
                seconds.median(),
                "gflops_per_second",
                flops / seconds.median() / 1e9,
                "gflops_per_second_min",
                flops / seconds.max() / 1e9,
                "gflops_per_second_max",
                flops / seconds.min() / 1e9);
        if (target.timer != null) {
            Optional<Double> share = target.card.map(c -> flops / seconds.median() / BenchGpu.peak(c, dtype));
            row.put("share_of_peak", share.<Object>map(x -> x).orElse("-"));
        }
        report.row(row);
    }

    /** Uniform values, the same few thousand again and again. */
    private static Tensor random(Device device, Memory scope, DType dtype, long... shape) {
        Tensor out = scope.allocate(dtype, shape);
        Random random = new Random(1);
        try (Memory memory = device.memory(Purpose.WORKSPACE)) {
            int piece = 1 << 16;
            Tensor floats = memory.allocate(DType.F32, piece);
            ByteBuffer bytes = ByteBuffer.allocateDirect(4 * piece).order(ByteOrder.nativeOrder());
            for (int i = 0; i < piece; i++) {
                bytes.putFloat(4 * i, random.nextFloat() - 0.5f);
            }
            device.write(floats, bytes);
            Tensor flat = out.reshape(out.elements());
            for (long from = 0; from < flat.elements(); from += piece) {
                long count = Math.min(piece, flat.elements() - from);
                device.ops().convert(flat.slice(from, count), floats.slice(0, count));
            }
        }
        return out;
    }
}
