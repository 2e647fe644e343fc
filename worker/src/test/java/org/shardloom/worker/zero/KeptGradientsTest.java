package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.cuda.SimulatedDriver.Lane;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderConfig.Names;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** Steps of one micro-batch a rank, whose last gradients stay on the device, over the simulated driver. No GPU takes part. */
@Timeout(300)
class KeptGradientsTest {
    private static final int VOCABULARY = 1500;
    private static final int EMBEDDING = 0;
    private static final int LOWEST_LAYER = 1;

    @ParameterizedTest
    @CsvSource({
        "1,SPLIT_ZERO_2,",
        "1,SPLIT_ZERO_2,TO_HOST",
        "1,SPLIT_ZERO_2,TO_DEVICE",
        "1,SPLIT_ZERO_3_OFFLOADED,TO_HOST",
        "2,SPLIT_ZERO_3,",
        "2,SPLIT_ZERO_2,TO_DEVICE",
        "2,SPLIT_ZERO_2,COMMUNICATION",
        "4,SPLIT_ZERO_3_OFFLOADED,",
        "4,SPLIT_ZERO_3,"
    })
    void stepsEqualTheReference(int world, Sharding sharding, Lane slow) throws Exception {
        CudaRanks.run(world, 5, slow == null ? 50 : 0, (device, group) -> {
            if (slow != null) {
                SimulatedDriver.slow(slow, 5000);
            }
            train(device, group, world, sharding);
            return null;
        });
    }

    private static void train(CudaDevice device, Collectives group, int world, Sharding sharding) throws Exception {
        try (TinyTrainer trainer = TinyTrainer.singleRound(group, DType.F32, sharding, 1, device)) {
            ZeroEngine engine = trainer.engine;
            float[] expected = trainer.train().readAll("plain/loss");
            float[] norms = trainer.train().readAll("plain/grad_norm");
            assertEquals(List.of(EMBEDDING, LOWEST_LAYER), staying(engine));
            long allocated = device.hostStatistics().currentByPurpose().get(Purpose.GRADIENTS);
            assertEquals(hostBytes(engine), allocated, 256.0 * engine.units().size(), "bytes of sums");
            for (int step = 1; step <= 4; step++) {
                // The last ones have fewer micro-batches than there are ranks.
                StepResult result = trainer.plain(step, step < 3 ? world : (world + 1) / 2);
                assertEquals(expected[step - 1], result.loss(), 1e-4 * expected[step - 1], "loss of step " + step);
                assertEquals(norms[step - 1], result.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
            }
            if (world > 1) {
                assertThrows(IllegalStateException.class, () -> trainer.plain(5, 2 * world));
            }
        }
    }

    /** A step that is not applied leaves nothing behind: gradients that overflow fp16 at first. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void stepsThatAreNotAppliedLeaveNothingBehind(int world) throws Exception {
        CudaRanks.run(world, 5, 50, (device, group) -> {
            try (TinyTrainer trainer = TinyTrainer.singleRound(group, DType.F16, Sharding.SPLIT_ZERO_3, 1, device)) {
                float[] expected = trainer.train().readAll("plain/loss");
                trainer.engine.scaler().restore(1 << 24, 0);
                assertEquals(List.of(EMBEDDING, LOWEST_LAYER), staying(trainer.engine));
                float[][][] before = trainer.state();
                int skipped = 0;
                while (!trainer.plain(1, world).applied()) {
                    assertTrue(Arrays.deepEquals(before, trainer.state()), "state after a step that was not applied");
                    assertTrue(++skipped < 8, "a scale that fits");
                }
                assertTrue(skipped > 0, "a scale that does not fit");
                assertEquals(expected[1], trainer.plain(2, world).loss(), 0.01 * expected[1]);
            }
            return null;
        });
    }

    private static List<Integer> staying(ZeroEngine engine) {
        return IntStream.range(0, engine.units().size())
                .filter(engine::gradientStays)
                .boxed()
                .toList();
    }

    /** Of the sums that the host has. */
    private static long hostBytes(ZeroEngine engine) {
        return IntStream.range(0, engine.units().size())
                .filter(u -> !engine.gradientStays(u))
                .mapToLong(u -> 4 * engine.plan().sliceElements(u))
                .sum();
    }

    /**
     * Tied weights are the head's, too: no other unit is as large, and their gradient takes the places of several layers'. With 0 for the norm
     * units are updated as their gradients come.
     */
    @ParameterizedTest
    @CsvSource({"1,F32,1", "2,F32,1", "2,BF16,1", "2,F32,0"})
    void aLargeGradientTakesSeveralPlaces(int world, DType dtype, double maxNorm) throws Exception {
        TunedModel model = model(9, true);
        List<Double> expected = Ranks.run(world, (rank, group) -> {
                    try (CpuDevice device = new CpuDevice(1)) {
                        return steps(model, dtype, maxNorm, device, group);
                    }
                })
                .get(0);
        List<Double> found = CudaRanks.run(world, 3, 50, (device, group) -> {
                    SimulatedDriver.slow(Lane.TO_DEVICE, 1000);
                    return steps(model, dtype, maxNorm, device, group);
                })
                .get(0);
        for (int step = 0; step < expected.size(); step++) {
            double tolerance = (dtype == DType.F32 ? 1e-5 : 1e-2) * expected.get(step);
            assertEquals(expected.get(step), found.get(step), tolerance, "loss of step " + step);
        }
        assertTrue(expected.get(3) < expected.get(0) - 0.1, "loss falls: " + expected);
    }

    private static List<Double> steps(TunedModel model, DType dtype, double maxNorm, Device device, Collectives group) {
        EngineConfig config = new EngineConfig(
                dtype,
                3,
                true,
                TinyModel.ADAMW,
                maxNorm,
                128,
                new SpikeConfig(SpikeConfig.Action.IGNORE, 100),
                Placement.OFFLOADED_OPTIMIZER,
                true);
        try (ZeroEngine engine = new ZeroEngine(model, config, device, group)) {
            MasterWeights.randomize(
                    engine.units(),
                    engine.plan(),
                    group.rank(),
                    5,
                    model.config().layers(),
                    engine.optimizer()::master);
            engine.publishMaster();
            if (!device.sharesHostMemory()) {
                assertTrue(engine.gradientStays(EMBEDDING) && engine.gradientStays(LOWEST_LAYER));
            }
            int[] ids = new Random(group.rank()).ints(40, 0, VOCABULARY).toArray();
            PackedBatch batch = PackedBatch.of(List.of(ids), List.of(ids));
            double targets = (double) batch.targets().length * group.size();
            List<Double> losses = new ArrayList<>();
            for (int step = 0; step < 4; step++) {
                losses.add(engine.step(new StepInput(List.of(batch), List.of(targets), 1, 1e-3))
                        .loss());
            }
            return losses;
        }
    }

    @Test
    void theLastAreLentPlacesThatAreLargeEnoughTogether() {
        assertEquals(List.of(Set.of(5), Set.of(4)), lenders(model(4, false), null));
        assertEquals(List.of(Set.of(3)), lenders(model(2, false), null));
        assertEquals(List.of(), lenders(model(1, false), null));
        assertEquals(List.of(Set.of(9, 8, 7, 6, 5), Set.of(4)), lenders(model(9, true), null));
        assertEquals(List.of(), lenders(model(4, true), null), "nor does the layer's stay, which comes before");
    }

    /** The gradient of a rank alone is where backward has put it: not in a buffer that is filled again. */
    @Test
    void whatIsWrittenOverDoesNotStay() {
        TunedModel model = model(4, false);
        assertEquals(List.of(Set.of(5)), lenders(model, new int[] {0, 0, 1, 0, 1, 0}));
        assertEquals(List.of(Set.of(5), Set.of(4)), lenders(model, new int[] {0, 1, 2, 1, 2, 0}));
    }

    private static TunedModel model(int layers, boolean tied) {
        AttentionShape attention = new AttentionShape(4, 2, 12, 6, true);
        return TunedModel.full(
                new DecoderConfig(Names.LLAMA, VOCABULARY, 48, layers, attention, 64, 1e-5f, 1e4, 128, true, tied));
    }

    /** Of the units that stay, from the embedding up. */
    private static List<Set<Integer>> lenders(TunedModel model, int[] bufferOf) {
        ShardPlan plan = ZeroEngine.planOf(model.trained(), 1);
        long[] sizes = IntStream.range(0, model.trained().size())
                .mapToLong(plan::sliceElements)
                .toArray();
        KeptGradients kept = KeptGradients.of(null, model.backwardOrder(), sizes, bufferOf);
        return IntStream.range(0, sizes.length)
                .filter(kept::stays)
                .mapToObj(u -> {
                    long from = 0;
                    Set<Integer> lent = new HashSet<>();
                    for (KeptGradients.Part part : kept.parts(u)) {
                        assertEquals(from, part.from());
                        assertTrue(part.count() <= sizes[part.lender()]);
                        from += part.count();
                        lent.add(part.lender());
                    }
                    assertEquals(sizes[u], from);
                    return lent;
                })
                .toList();
    }
}
