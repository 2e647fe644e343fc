package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** Ten training steps of a real pre-trained Llama with tied embeddings against the reference. */
@Timeout(value = 90, unit = TimeUnit.SECONDS)
class StoriesTraceTest {

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void tenStepsAndTheFirstGradientNormsEqualTheReference(int world) throws Exception {
        Path directory = SharedFixtures.require("stories260k");
        List<String> order = new ArrayList<>();
        SharedFixtures.json(directory.resolve("train_param_order.json")).forEach(n -> order.add(n.asText()));
        assertNorms(directory, order, Ranks.run(world, (rank, given) -> {
            Collectives group = world == 3 ? SeparateMemories.over(given) : given;
            try (CpuDevice device = new CpuDevice(1)) {
                return train(directory, device, group, world == 2, order);
            }
        }));
    }

    /** Tied embeddings on GPUs: over the simulated driver and simulated NCCL; a GPU takes part in profile gpu only. */
    @ParameterizedTest
    @ValueSource(ints = 2)
    void tenStepsOnGpusEqualTheReference(int world) throws Exception {
        Path directory = SharedFixtures.require("stories260k");
        CudaRanks.run(world, 5, 20, (device, group) -> train(directory, device, group, world == 1, null));
    }

    private static void assertNorms(Path directory, List<String> order, List<double[]> squares) throws Exception {
        try (TensorSource reference = TinyModel.open(directory.resolve("reference.safetensors"))) {
            float[] norms = reference.readAll("train/first_grad_norms");
            for (int i = 0; i < norms.length; i++) {
                int at = i;
                double norm = Math.sqrt(squares.stream().mapToDouble(s -> s[at]).sum());
                assertEquals(norms[i], norm, 1e-4 * norms[i] + 1e-7, order.get(i));
            }
        }
    }

    /**
     * Compares the trace.
     *
     * @param order of the parameters; null: not wanted
     * @return this rank's sums of squares of the first step's gradients, by parameter
     */
    private static double[] train(
            Path directory, Device device, Collectives group, boolean recompute, List<String> order) throws Exception {
        EngineConfig config = new EngineConfig(DType.F32, 3, recompute, TinyModel.ADAMW, 1.0, 128);
        double[] squares = new double[order == null ? 0 : order.size()];
        try (ZeroEngine engine = new ZeroEngine(ModelConfigReader.read(directory), config, device, group);
                TensorSource weights = WeightsDirectory.open(directory);
                TensorSource reference = TinyModel.open(directory.resolve("reference.safetensors"))) {
            MasterWeights.check(engine.units(), weights, "stories260k");
            MasterWeights.load(engine.units(), engine.plan(), group.rank(), weights, engine.optimizer()::master);
            engine.publishMaster();
            float[] losses = reference.readAll("train/loss");
            float[] norms = reference.readAll("train/grad_norm");
            List<PackedBatch> rows = rows(reference);
            double targets = rows.stream().mapToInt(r -> r.targets().length).sum();
            List<PackedBatch> own = new ArrayList<>();
            for (int i = group.rank(); i < rows.size(); i += group.size()) {
                own.add(rows.get(i));
            }
            int rounds = (rows.size() + group.size() - 1) / group.size();
            List<Double> divisors = own.stream().map(b -> targets).toList();
            for (int step = 1; step <= losses.length; step++) {
                StepResult result = engine.step(new StepInput(own, divisors, rounds, TinyModel.rate(step)));
                assertEquals(losses[step - 1], result.loss(), 1e-4, "loss of step " + step);
                assertEquals(norms[step - 1], result.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
                if (step == 1 && order != null) {
                    addSquares(engine, device, group.rank(), order, squares);
                }
            }
        }
        return squares;
    }

    private static List<PackedBatch> rows(TensorSource reference) throws Exception {
        long[] ids = TinyModel.longs(reference, "train/input_ids");
        long[] labels = TinyModel.longs(reference, "train/labels");
        int width = ids.length / 3;
        long[] lengths = new long[3];
        for (int i = 0; i < labels.length; i++) {
            lengths[i / width] += labels[i] == PackedBatch.IGNORED ? 0 : 1;
        }
        List<int[]> sequences = TinyModel.rows(reference, "train/input_ids", lengths, 0, 3);
        List<int[]> targets = TinyModel.rows(reference, "train/labels", lengths, 0, 3);
        List<PackedBatch> rows = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            rows.add(PackedBatch.of(List.of(sequences.get(i)), List.of(targets.get(i))));
        }
        return rows;
    }

    private static void addSquares(ZeroEngine engine, Device device, int rank, List<String> order, double[] squares) {
        for (int u = 0; u < engine.units().size(); u++) {
            Interval owned = engine.plan().owned(u, rank);
            float[] gradient = Inputs.toFloats(device, engine.gradientSum(u));
            for (ParameterSpec p : engine.units().get(u).parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    long start = p.offset() + s.firstRow() * p.columns();
                    Interval part = owned.intersect(new Interval(start, start + s.rows() * p.columns()));
                    int from = (int) (part.from() - owned.from());
                    squares[order.indexOf(s.name())] += part.isEmpty()
                            ? 0
                            : Arrays.stream(toDoubles(gradient, from, (int) part.length()))
                                    .map(g -> g * g)
                                    .sum();
                }
            }
        }
    }

    private static double[] toDoubles(float[] values, int from, int count) {
        double[] doubles = new double[count];
        for (int i = 0; i < count; i++) {
            doubles[i] = values[from + i];
        }
        return doubles;
    }
}
