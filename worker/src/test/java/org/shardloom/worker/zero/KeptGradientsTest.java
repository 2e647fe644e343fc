package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.cuda.SimulatedDriver.Lane;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
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
    /** It has two micro-batches a rank. */
    private static final int LONG_STEP = 3;

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
                SimulatedDriver.slow(slow, slow == Lane.COMPUTE ? 500 : 5000);
            }
            train(device, group, world, sharding);
            return null;
        });
    }

    private static void train(CudaDevice device, Collectives group, int world, Sharding sharding) throws Exception {
        try (TinyTrainer trainer = new TinyTrainer(group, DType.F32, sharding, true, TinyModel.ADAMW, device)) {
            ZeroEngine engine = trainer.engine;
            float[] expected = trainer.train().readAll("plain/loss");
            float[] norms = trainer.train().readAll("plain/grad_norm");
            for (int step = 1; step <= 5; step++) {
                assertArrayEquals(
                        step <= LONG_STEP ? new int[] {EMBEDDING, LOWEST_LAYER} : new int[0],
                        staying(engine),
                        "units whose gradients stay in step " + step);
                if (step <= LONG_STEP) {
                    long allocated = device.hostStatistics().currentByPurpose().get(Purpose.GRADIENTS);
                    assertEquals(
                            hostBytes(engine), allocated, 256.0 * engine.units().size(), "bytes of sums");
                }
                List<PackedBatch> all =
                        TinyModel.microBatches(trainer.train(), step, step == LONG_STEP ? 2 * world : world);
                double targets = all.stream().mapToInt(b -> b.targets().length).sum();
                StepResult result =
                        trainer.step(all, all.stream().map(b -> targets).toList(), TinyModel.rate(step));
                assertEquals(expected[step - 1], result.loss(), 1e-4 * expected[step - 1], "loss of step " + step);
                assertEquals(norms[step - 1], result.gradNorm(), 1e-3 * norms[step - 1], "norm of step " + step);
            }
        }
    }

    /** Of the sums that the host has. */
    private static long hostBytes(ZeroEngine engine) {
        return IntStream.range(0, engine.units().size())
                .filter(u -> !engine.gradientStays(u))
                .mapToLong(u -> 4 * engine.plan().sliceElements(u))
                .sum();
    }

    private static int[] staying(ZeroEngine engine) {
        return IntStream.range(0, engine.units().size())
                .filter(engine::gradientStays)
                .toArray();
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
        EngineConfig config = new EngineConfig(dtype, 3, true, TinyModel.ADAMW, maxNorm, 128);
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
        assertEquals(List.of(Set.of(5), Set.of(3)), lenders(model(4, false), null));
        assertEquals(List.of(Set.of(3)), lenders(model(2, false), null));
        assertEquals(List.of(), lenders(model(1, false), null));
        assertEquals(List.of(Set.of(9, 8, 7, 6, 3), Set.of(4)), lenders(model(9, true), null));
        assertEquals(List.of(), lenders(model(4, true), null), "nor does the layer's stay, which comes before");
    }

    /** The gradient of a rank alone is where backward has put it: not in a buffer that is filled again. */
    @Test
    void whatIsWrittenOverDoesNotStay() {
        TunedModel model = model(4, false);
        assertEquals(List.of(Set.of(5)), lenders(model, new int[] {0, 0, 1, 0, 1, 0}));
        assertEquals(List.of(Set.of(5), Set.of(3)), lenders(model, new int[] {0, 1, 2, 1, 2, 0}));
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
        KeptGradients kept = KeptGradients.of(null, model, sizes, bufferOf);
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
