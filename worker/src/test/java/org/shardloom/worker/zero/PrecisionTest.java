package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** 16-bit training, overflow, NaN, and steps out of the ordinary. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class PrecisionTest {

    private static TinyTrainer open(org.shardloom.kernels.collective.Collectives group, DType dtype) throws Exception {
        return new TinyTrainer(group, dtype, Sharding.ZERO_3_IN_PLACE, true, TinyModel.ADAMW);
    }

    @ParameterizedTest
    @EnumSource(
            value = DType.class,
            names = {"BF16", "F16"})
    void sixteenBitLossesStayNearTheReferences(DType dtype) throws Exception {
        Ranks.run(2, (rank, group) -> {
            try (TinyTrainer trainer = open(group, dtype)) {
                float[] expected = trainer.train().readAll("bf16/loss");
                for (int step = 1; step <= 20; step++) {
                    StepResult result = trainer.plain(step);
                    assertTrue(result.applied(), "step " + step);
                    assertEquals(expected[step - 1], result.loss(), 0.05, "loss of step " + step);
                }
                assertEquals(20, trainer.engine.optimizer().updates());
                return null;
            }
        });
    }

    @Test
    void anOverflowInFp16SkipsTheUpdateAndHalvesTheScaleOnEveryRank() throws Exception {
        Ranks.run(3, (rank, group) -> {
            try (TinyTrainer trainer = open(group, DType.F16)) {
                trainer.engine.scaler().restore(0x1p40, 7);
                float[][][] before = trainer.state();
                StepResult result = trainer.accumulated(1);
                assertFalse(result.applied());
                assertFalse(Double.isFinite(result.gradNorm()));
                assertTrue(Double.isFinite(result.loss()), "the loss itself is not scaled");
                assertEquals(0x1p39, trainer.engine.scaler().scale());
                assertEquals(0, trainer.engine.scaler().goodSteps());
                assertEquals(0, trainer.engine.optimizer().updates());
                assertSame(before, trainer.state());
                trainer.engine.scaler().restore(1024, 0);
                assertTrue(trainer.accumulated(1).applied(), "the overflow leaves nothing behind");
                return null;
            }
        });
    }

    @ParameterizedTest
    @CsvSource({"F16, 1", "F16, 4", "BF16, 1", "BF16, 4", "F32, 1", "F32, 2", "F32, 3", "F32, 4"})
    void aNanInAWeightStopsEveryRankBeforeTheUpdateAndNamesThatUnitAlone(DType dtype, int unit) throws Exception {
        Ranks.run(3, (rank, group) -> {
            try (TinyTrainer trainer = open(group, dtype)) {
                trainer.engine.scaler().restore(dtype == DType.F16 ? 1024 : 1, 0);
                trainer.accumulated(1);
                double scale = trainer.engine.scaler().scale();
                if (rank == 1) {
                    set(trainer.engine.optimizer().get(unit, Part.MASTER), 5, Float.NaN);
                }
                trainer.engine.publishMaster();
                float[][][] before = trainer.state();
                NonFiniteException e = assertThrows(NonFiniteException.class, () -> trainer.accumulated(2));
                assertNames("output", unit, trainer, e);
                assertTrue(e.getMessage().contains("not applied"), e.getMessage());
                assertEquals(dtype == DType.F16, e.getMessage().contains("precision: bf16"), e.getMessage());
                assertEquals(scale, trainer.engine.scaler().scale(), "it is no overflow");
                assertEquals(1, trainer.engine.optimizer().updates());
                assertSame(before, trainer.state());
                return null;
            }
        });
    }

    @ParameterizedTest
    @EnumSource(Sharding.class)
    void aNanThatOneMicroBatchMeetsIsNamedOnEveryRank(Sharding sharding) throws Exception {
        Ranks.run(3, (rank, group) -> {
            try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW)) {
                Interval owned = trainer.engine.plan().owned(0, rank);
                int id = idOfTheLastMicroBatchAlone(trainer.train());
                long element = (long) id * trainer.engine.model().config().hidden();
                if (owned.from() <= element && element < owned.to()) {
                    set(trainer.engine.optimizer().get(0, Part.MASTER), (int) (element - owned.from()), Float.NaN);
                }
                trainer.engine.publishMaster();
                NonFiniteException e = assertThrows(NonFiniteException.class, () -> trainer.accumulated(1));
                assertNames("output", 0, trainer, e);
                assertThrows(NonFiniteException.class, () -> trainer.accumulated(1), "the ranks are still in step");
                return null;
            }
        });
    }

    /** Token that none but the last of the four micro-batches has; three ranks take it in their second round. */
    private static int idOfTheLastMicroBatchAlone(TensorSource train) throws Exception {
        List<PackedBatch> batches = TinyModel.microBatches(train, 1, 4);
        Set<Integer> others = new HashSet<>();
        batches.subList(0, 3).forEach(b -> Arrays.stream(b.ids()).forEach(others::add));
        return Arrays.stream(batches.get(3).ids())
                .filter(id -> !others.contains(id))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void gradientsThatOverflowNameTheUnitWhereBackwardBegins() throws Exception {
        Ranks.run(2, (rank, group) -> {
            try (TinyTrainer trainer = TinyTrainer.open(group)) {
                NonFiniteException e = assertThrows(
                        NonFiniteException.class,
                        () -> trainer.step(TinyModel.microBatches(trainer.train(), 1, 2), List.of(1e-45, 1e-45), 1e-3));
                assertNames("gradient", 4, trainer, e);
                assertEquals(0, trainer.engine.optimizer().updates());
                return null;
            }
        });
    }

    private static void assertNames(String what, int unit, TinyTrainer trainer, NonFiniteException e) {
        List<UnitSpec> units = trainer.engine.units();
        for (int u = 0; u < units.size(); u++) {
            String text = "the " + what + " of unit " + units.get(u).name() + " is not finite";
            assertEquals(u == unit, e.getMessage().contains(text), e.getMessage());
            assertEquals(u == unit, e.getMessage().contains(units.get(u).name()), e.getMessage());
        }
    }

    @Test
    void parametersThatMatchANoDecayPatternAreNotDecayed() throws Exception {
        double rate = 0.25;
        double decay = 0.5;
        List<UnitSpec> units = new ArrayList<>();
        List<float[][][]> wholes = new ArrayList<>();
        for (List<String> patterns : List.of(List.<String>of(), List.of("layernorm", "qkv.bias"))) {
            OptimizerConfig config = new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.9, 0.95, 1e-8, decay, patterns);
            for (int steps = patterns.isEmpty() ? 0 : 1; steps < 2; steps++) {
                int count = steps;
                wholes.add(TinyTrainer.whole(Ranks.run(3, (rank, group) -> {
                    try (TinyTrainer t = new TinyTrainer(group, DType.F32, Sharding.ZERO_3_IN_PLACE, false, config)) {
                        if (rank == 0 && units.isEmpty()) {
                            units.addAll(t.engine.units());
                        }
                        List<PackedBatch> batches = TinyModel.microBatches(t.train(), 1, 4);
                        for (int i = 0; i < count; i++) {
                            t.step(batches, List.of(100.0, 100.0, 100.0, 100.0), rate);
                        }
                        return t.state();
                    }
                })));
            }
        }
        int matching = 0;
        for (int u = 0; u < units.size(); u++) {
            float[] start = wholes.get(0)[u][0];
            float[] decayed = wholes.get(1)[u][0];
            float[] some = wholes.get(2)[u][0];
            for (ParameterSpec p : units.get(u).parameters().values()) {
                boolean matches = p.sources().get(0).name().contains("layernorm")
                        || p.name().equals("qkv.bias");
                matching += matches ? 1 : 0;
                for (int i = (int) p.offset(); i < p.offset() + p.elements(); i++) {
                    double expected = matches ? decayed[i] + rate * decay * start[i] : decayed[i];
                    assertEquals(
                            expected, some[i], matches ? 1e-6 : 0, units.get(u).name() + " " + p.name());
                }
            }
        }
        assertEquals(10, matching, "two norms and a bias in each of three layers, and the final norm");
    }

    @Test
    void aMicroBatchWithoutTargetsAddsNothing() throws Exception {
        double[][] results = new double[2][];
        for (int i = 0; i < 2; i++) {
            boolean withEmpty = i == 1;
            results[i] = Ranks.run(2, (rank, group) -> {
                        try (TinyTrainer trainer = TinyTrainer.open(group)) {
                            List<PackedBatch> batches = new ArrayList<>(TinyModel.microBatches(trainer.train(), 1, 2));
                            if (withEmpty) {
                                batches.add(1, withoutTargets(trainer.train()));
                            }
                            StepResult r = trainer.step(
                                    batches, batches.stream().map(b -> 300.0).toList(), 1e-3);
                            assertTrue(r.applied());
                            return new double[] {r.loss(), r.gradNorm()};
                        }
                    })
                    .get(0);
        }
        assertEquals(results[0][0], results[1][0], 1e-6);
        assertEquals(results[0][1], results[1][1], 1e-5);
    }

    @Test
    void aStepWithoutAnyTargetHasNoLossAndNoGradient() throws Exception {
        Ranks.run(2, (rank, group) -> {
            try (TinyTrainer trainer = TinyTrainer.open(group)) {
                StepResult r = trainer.step(
                        List.of(withoutTargets(trainer.train()), withoutTargets(trainer.train())),
                        List.of(1.0, 1.0),
                        1e-3);
                assertEquals(0, r.loss());
                assertEquals(0, r.gradNorm());
                assertEquals(reference(trainer), trainer.accumulated(1).loss(), 0.05, "nothing is NaN afterwards");
                return null;
            }
        });
    }

    private static double reference(TinyTrainer trainer) throws Exception {
        return trainer.train().readAll("accum4/loss")[0];
    }

    private static PackedBatch withoutTargets(TensorSource train) throws Exception {
        List<int[]> ids = TinyModel.sequences(train, "batch/2/", 0, 3);
        List<int[]> labels = ids.stream()
                .map(s -> java.util.stream.IntStream.generate(() -> PackedBatch.IGNORED)
                        .limit(s.length)
                        .toArray())
                .toList();
        return PackedBatch.of(ids, labels);
    }

    private static void set(Tensor tensor, int index, float value) {
        HostBytes.view(tensor.address(), tensor.bytes()).putFloat(index * 4, value);
    }

    private static void assertSame(float[][][] expected, float[][][] actual) {
        for (int u = 0; u < expected.length; u++) {
            for (Part part : Part.values()) {
                assertArrayEquals(expected[u][part.ordinal()], actual[u][part.ordinal()], "unit " + u + " " + part);
            }
        }
    }
}
