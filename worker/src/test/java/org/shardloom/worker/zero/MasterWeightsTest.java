package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.CpuHostOps;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.ParameterSpec.Kind;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.SafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsException;

@Timeout(value = 30, unit = TimeUnit.SECONDS)
class MasterWeightsTest {
    private static final DecoderConfig CONFIG = SmallModels.qwen2(2);
    private static final List<UnitSpec> UNITS = DecoderUnits.of(CONFIG);

    @TempDir
    Path directory;

    /** What each unit's buffer holds, put together from all ranks' slices. */
    private static List<float[]> drawn(int world, long seed) {
        ShardPlan plan = ZeroEngine.planOf(UNITS, world);
        List<float[]> units = new ArrayList<>();
        UNITS.forEach(u -> units.add(new float[(int) u.elements()]));
        try (CpuDevice device = new CpuDevice(1)) {
            for (int rank = 0; rank < world; rank++) {
                try (Memory memory = device.memory(Purpose.OPTIMIZER)) {
                    OptimizerShard shard =
                            new OptimizerShard(plan, rank, UNITS, TinyModel.ADAMW, memory, CpuHostOps.INSTANCE);
                    MasterWeights.randomize(UNITS, plan, rank, seed, CONFIG.layers(), shard::master);
                    for (int u = 0; u < UNITS.size(); u++) {
                        float[] slice = Inputs.toFloats(device, shard.get(u, Part.MASTER));
                        int from = (int) plan.owned(u, rank).from();
                        System.arraycopy(slice, 0, units.get(u), from, (int)
                                plan.owned(u, rank).length());
                    }
                }
            }
        }
        return units;
    }

    @Test
    void everyWorldSizeStartsWithTheSameModel() {
        List<float[]> one = drawn(1, 77);
        for (int world = 2; world <= 7; world++) {
            List<float[]> many = drawn(world, 77);
            for (int u = 0; u < one.size(); u++) {
                assertArrayEquals(one.get(u), many.get(u), "world " + world + " unit " + u);
            }
        }
    }

    @Test
    void weightsHaveTheirMeanAndDeviationAndTheRestIsConstant() {
        List<float[]> units = drawn(2, 5);
        for (int u = 0; u < units.size(); u++) {
            for (ParameterSpec p : UNITS.get(u).parameters().values()) {
                double sum = 0;
                double squares = 0;
                double fourths = 0;
                for (int i = 0; i < p.elements(); i++) {
                    float value = units.get(u)[(int) p.offset() + i];
                    sum += value;
                    squares += (double) value * value;
                    fourths += Math.pow(value, 4);
                }
                double n = p.elements();
                double deviation = Math.sqrt(squares / n);
                String name = UNITS.get(u).name() + " " + p.name();
                if (p.kind() == Kind.NORM) {
                    assertEquals(n, sum, name);
                    assertEquals(n, squares, name);
                } else if (p.kind() == Kind.BIAS) {
                    assertEquals(0, squares, name);
                } else {
                    double wanted = p.kind() == Kind.WEIGHT ? 0.02 : 0.02 / Math.sqrt(2 * CONFIG.layers());
                    assertEquals(wanted, deviation, 5 * wanted / Math.sqrt(2 * n), name);
                    assertEquals(0, sum / n, 5 * wanted / Math.sqrt(n), name);
                    assertEquals(2.9, fourths / n / Math.pow(deviation, 4), 0.45, name + " is bell-shaped");
                }
            }
        }
    }

    @Test
    void seedsAndParametersAreIndependent() {
        float[] first = drawn(1, 1).get(1);
        float[] second = drawn(1, 2).get(1);
        float[] otherLayer = drawn(1, 1).get(2);
        ParameterSpec p = UNITS.get(1).parameter("gate_up.weight");
        assertTrue(Math.abs(correlation(first, second, p)) < 0.06);
        assertTrue(Math.abs(correlation(first, otherLayer, p)) < 0.06);
        assertEquals(1, correlation(first, first, p), 1e-9);
    }

    private static double correlation(float[] a, float[] b, ParameterSpec p) {
        double ab = 0;
        double aa = 0;
        double bb = 0;
        for (int i = (int) p.offset(); i < p.offset() + p.elements(); i++) {
            ab += (double) a[i] * b[i];
            aa += (double) a[i] * a[i];
            bb += (double) b[i] * b[i];
        }
        return ab / Math.sqrt(aa * bb);
    }

    /** Notes which rank reads each element, and that none is read twice. The values are zero. */
    private static final class NotingSource implements TensorSource {
        private static final int NOBODY = -1;
        private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
        final Map<String, int[]> readers = new HashMap<>();
        int rank;

        NotingSource(List<UnitSpec> units) {
            units.stream().flatMap(u -> u.parameters().values().stream()).forEach(p -> p.sources()
                    .forEach(s -> {
                        TensorInfo info = new TensorInfo(s.name(), WeightDtype.F32, p.shapeOf(s));
                        int[] nobody = new int[(int) info.elementCount()];
                        Arrays.fill(nobody, NOBODY);
                        tensors.put(s.name(), info);
                        readers.put(s.name(), nobody);
                    }));
        }

        @Override
        public Map<String, TensorInfo> tensors() {
            return tensors;
        }

        @Override
        public void read(String name, long firstElement, FloatBuffer destination) {
            for (int i = (int) firstElement; destination.hasRemaining(); i++) {
                assertEquals(NOBODY, readers.get(name)[i], name + "[" + i + "] again, by rank " + rank);
                readers.get(name)[i] = rank;
                destination.put(0);
            }
        }

        @Override
        public void readRaw(String name, long firstElement, ByteBuffer destination) {
            throw new AssertionError("the weights of " + name + " are read as fp32");
        }

        @Override
        public void close() {}
    }

    @Test
    void everyElementIsReadOnceAndByTheRankThatOwnsIt() throws Exception {
        for (DecoderConfig config : List.of(CONFIG, SmallModels.chatglm(2))) {
            List<UnitSpec> units = DecoderUnits.of(config);
            ShardPlan plan = ZeroEngine.planOf(units, 3);
            NotingSource source = new NotingSource(units);
            for (int rank = 0; rank < plan.worldSize(); rank++) {
                source.rank = rank;
                try (CpuDevice device = new CpuDevice(1);
                        Memory memory = device.memory(Purpose.OPTIMIZER)) {
                    OptimizerShard shard =
                            new OptimizerShard(plan, rank, units, TinyModel.ADAMW, memory, CpuHostOps.INSTANCE);
                    MasterWeights.load(units, plan, rank, source, shard::master);
                }
            }
            for (int u = 0; u < units.size(); u++) {
                for (ParameterSpec p : units.get(u).parameters().values()) {
                    for (ParameterSpec.Source s : p.sources()) {
                        long start = p.offset() + s.firstRow() * p.columns();
                        int[] owners = new int[(int) (s.rows() * p.columns())];
                        for (int i = 0; i < owners.length; i++) {
                            owners[i] = (int) ((start + i) / plan.sliceElements(u));
                        }
                        assertArrayEquals(owners, source.readers.get(s.name()), s.name());
                    }
                }
            }
        }
    }

    @Test
    void everyMissingExtraAndMisshapenTensorIsListed() throws Exception {
        List<TensorInfo> tensors = new ArrayList<>();
        UNITS.stream().flatMap(u -> u.parameters().values().stream()).forEach(p -> p.sources()
                .forEach(s -> tensors.add(new TensorInfo(s.name(), WeightDtype.BF16, p.shapeOf(s)))));
        check(tensors);
        tensors.add(TensorInfo.of("model.layers.0.self_attn.rotary_emb.inv_freq", WeightDtype.F32, 6));
        tensors.add(TensorInfo.of("lm_head.weight", WeightDtype.BF16, 96, 48));
        check(tensors);
        tensors.removeIf(t -> t.name().equals("model.layers.1.self_attn.v_proj.bias"));
        tensors.replaceAll(t -> switch (t.name()) {
            case "model.norm.weight" -> TensorInfo.of(t.name(), WeightDtype.BF16, 1, 48);
            case "model.embed_tokens.weight" -> TensorInfo.of(t.name(), WeightDtype.I64, 96, 48);
            default -> t;
        });
        tensors.add(TensorInfo.of("model.layers.2.mlp.up_proj.weight", WeightDtype.BF16, 64, 48));
        String message =
                assertThrows(WeightsException.class, () -> check(tensors)).getMessage();
        for (String expected : List.of(
                "here: the weights do not fit",
                "missing: model.layers.1.self_attn.v_proj.bias [24]",
                "shape: model.norm.weight is [1, 48], the model's configuration asks for [48]",
                "type: model.embed_tokens.weight is I64",
                "extra: model.layers.2.mlp.up_proj.weight [64, 48]")) {
            assertTrue(message.contains(expected), message);
        }
        assertEquals(5, message.lines().count(), message);
    }

    /** The layers' rows of a projected prefix's second map are cut from one tensor. */
    @Test
    void aTensorThatSeveralUnitsShareIsMissedOnce() throws Exception {
        List<UnitSpec> units = Tuning.of(SmallModels.chatglm(3), new TuningMethod.PTuningV2(4, true)).units().stream()
                .filter(UnitSpec::added)
                .toList();
        assertTrue(units.size() > 3, "a unit beside each layer");
        Path file = directory.resolve("none.safetensors");
        try (SafetensorsWriter writer = SafetensorsWriter.create(file, List.of(), Map.of())) {
            writer.finish();
        }
        try (TensorSource none = SafetensorsFile.open(file)) {
            List<String> problems = MasterWeights.problems(units, none);
            assertEquals(problems.stream().distinct().toList(), problems);
            assertEquals(
                    2,
                    problems.stream().filter(p -> p.contains("trans.2.")).count(),
                    "weight and bias of the second map: " + problems);
        }
    }

    @Test
    void aLongListOfProblemsIsCutAndCounted() {
        String message =
                assertThrows(WeightsException.class, () -> check(List.of())).getMessage();
        int tensors = UNITS.stream()
                .flatMap(u -> u.parameters().values().stream())
                .mapToInt(p -> p.sources().size())
                .sum();
        assertEquals(tensors <= 40 ? tensors + 1 : 42, message.lines().count(), message);
        assertFalse(message.contains("extra"));
    }

    private void check(List<TensorInfo> tensors) throws Exception {
        Path file = directory.resolve("weights.safetensors");
        try (SafetensorsWriter writer = SafetensorsWriter.create(file, tensors, Map.of())) {
            for (TensorInfo t : tensors) {
                writer.append(t.name(), ByteBuffer.allocate((int) t.byteCount()));
            }
            writer.finish();
        }
        try (TensorSource source = SafetensorsFile.open(file)) {
            MasterWeights.check(UNITS, source, "here");
        }
    }
}
