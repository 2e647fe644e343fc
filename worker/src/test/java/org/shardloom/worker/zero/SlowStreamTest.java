package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.cuda.SimulatedDriver.Lane;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderConfig.Names;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** What the engine's parts wait for while copies dawdle, where whole steps would wait by other means. No GPU takes part. */
@Timeout(120)
class SlowStreamTest {
    private static final int SLOW_MICROS = 40_000;
    private static final int UNIT = 1;
    private final Path base = SharedFixtures.tinyChatglm3();

    /** What is done with units whose slices are on the host. */
    @FunctionalInterface
    private interface Work {
        void run(CudaDevice device, GatheredParameters parameters, Memory gathered);
    }

    private void offloaded(Work work) throws Exception {
        List<UnitSpec> units = TunedModel.full(ModelConfigReader.read(base)).units();
        ShardPlan plan = ZeroEngine.planOf(units, 1);
        DType[] dtypes = new DType[units.size()];
        Arrays.fill(dtypes, DType.F32);
        CudaRanks.run(1, 1, 0, (device, group) -> {
            try (Memory host = device.hostMemory(Purpose.PARAMETERS);
                    Memory gathered = device.memory(Purpose.GATHERED)) {
                GatheredParameters parameters = new GatheredParameters(
                        group, plan, dtypes, IntStream.range(0, dtypes.length).toArray(), host, gathered, device);
                fill(parameters.slice(UNIT), 3);
                SimulatedDriver.slow(Lane.TO_DEVICE, SLOW_MICROS);
                work.run(device, parameters, gathered);
            }
            return null;
        });
    }

    private static void fill(Tensor host, float value) {
        FloatBuffer values = HostBytes.view(host.address(), host.bytes()).asFloatBuffer();
        while (values.hasRemaining()) {
            values.put(value);
        }
    }

    private static void assertAll(float expected, float[] values) {
        for (float value : values) {
            assertEquals(expected, value);
        }
    }

    @Test
    void theHostWritesASliceWhenItsCopyIsOver() throws Exception {
        offloaded((device, parameters, gathered) -> {
            parameters.prefetch(UNIT);
            fill(parameters.slice(UNIT), 5);
            assertAll(3, Inputs.toFloats(device, parameters.gather(UNIT)));
            parameters.release(UNIT);
            assertAll(5, Inputs.toFloats(device, parameters.gather(UNIT)));
        });
    }

    @Test
    void aUnitThatWasPrefetchedForNothingKeepsItsPlaceUntilItHasCome() throws Exception {
        offloaded((device, parameters, gathered) -> {
            long elements = parameters.slice(UNIT).elements(); // later it would wait for the copy
            parameters.prefetch(UNIT);
            parameters.release(UNIT);
            Tensor next = gathered.allocate(DType.F32, elements);
            device.ops().zero(next);
            device.synchronize();
            assertAll(0, Inputs.toFloats(device, next));
        });
    }

    @Test
    void aCopyUnderWayAtTheEndKeepsItsPlaceUntilItHasCome() throws Exception {
        offloaded((device, parameters, gathered) -> {
            long elements = parameters.slice(UNIT).elements();
            parameters.prefetch(UNIT);
            parameters.close();
            gathered.close();
            try (Memory next = device.memory(Purpose.GATHERED)) {
                Tensor other = next.allocate(DType.F32, elements);
                device.ops().zero(other);
                device.synchronize();
                assertAll(0, Inputs.toFloats(device, other));
            }
        });
    }

    /** A gradient of three pieces, which come to two places by turns. */
    @Test
    void piecesOfAGradientAreAddedWhenTheyHaveCome() throws Exception {
        int n = (2 << 20) + 1000;
        CudaRanks.run(1, 1, 0, (device, group) -> {
            try (Memory host = device.hostMemory(Purpose.GRADIENTS);
                    Memory memory = device.memory(Purpose.GRADIENTS)) {
                float[] values = new float[n];
                for (int i = 0; i < n; i++) {
                    values[i] = i % 1009;
                }
                Tensor gradient = Inputs.floats(device, memory, values, n);
                Tensor sum = host.allocate(DType.F32, n);
                SimulatedDriver.slow(Lane.TO_HOST, SLOW_MICROS);
                try (GradientArrivals arrivals = new GradientArrivals(device, host, new Tensor[] {sum})) {
                    for (int round = 1; round <= 3; round++) {
                        arrivals.beginRound(round == 1, round == 3);
                        Pending ready = device.issued();
                        arrivals.take(0, gradient, ready);
                        arrivals.await(0);
                        FloatBuffer sums =
                                HostBytes.view(sum.address(), sum.bytes()).asFloatBuffer();
                        for (int i = 0; i < n; i++) {
                            assertEquals(round * values[i], sums.get(i), "number " + i);
                        }
                    }
                }
            }
            return null;
        });
    }

    /** Losses of a step that has failed have come before their place is given to others. */
    @Test
    void lossesOnTheirWayComeBeforeTheEnd() throws Exception {
        CudaRanks.run(1, 1, 0, (device, group) -> {
            try (Memory memory = device.memory(Purpose.WORKSPACE);
                    Memory host = device.hostMemory(Purpose.WORKSPACE)) {
                Tensor losses = Inputs.floats(device, memory, new float[] {3, 4, 5}, 3);
                host.free(host.allocate(DType.F32, 3)); // the page that comes next
                SimulatedDriver.slow(Lane.TO_HOST, SLOW_MICROS);
                new LossSum(device, losses).close();
                Tensor next = host.allocate(DType.F32, 3);
                fill(next, 7);
                device.synchronize();
                assertAll(7, TestDevices.hostFloats(device, next));
            }
            return null;
        });
    }

    /** New weights that are on their way when a step fails have come before their places are given to others. */
    @Test
    void newWeightsOnTheirWayComeBeforeTheEnd() throws Exception {
        CudaRanks.run(1, 1, 0, (device, group) -> {
            Sharding sharding = Sharding.SPLIT_ZERO_2;
            try (TinyTrainer trainer = TinyTrainer.unclipped(group, sharding, SpikeConfig.Action.IGNORE, device)) {
                ZeroEngine engine = trainer.engine;
                int head = engine.units().size() - 1;
                Tensor slice = engine.parameterSlice(head);
                ParameterUpdate update = engine.newUpdate();
                SimulatedDriver.slow(Lane.TO_DEVICE, SLOW_MICROS);
                update.begin(1e-3);
                update.apply(head, 1, device.issued());
                float[] expected = TestDevices.hostFloats(device, engine.gradientSum(head));
                update.close();
                fill(engine.gradientSum(head), Float.NaN);
                assertArrayEquals(expected, Inputs.toFloats(device, slice));
            }
            return null;
        });
    }

    /** Gradients that stayed on the device and are on their way when a step fails, likewise. */
    @Test
    void aGradientOnItsWayComesBeforeTheEnd() throws Exception {
        CudaRanks.run(1, 1, 0, (device, group) -> {
            try (Memory host = device.hostMemory(Purpose.GRADIENTS);
                    Memory memory = device.memory(Purpose.GRADIENTS)) {
                int[] order = {3, 2, 1, 0};
                KeptGradients kept = KeptGradients.of(device, order, new long[] {3, 3, 3, 3}, null);
                Tensor place = host.allocate(DType.F32, 3);
                kept.put(0, Inputs.floats(device, memory, new float[] {3, 3, 3}, 3));
                SimulatedDriver.slow(Lane.TO_HOST, SLOW_MICROS);
                kept.bring(0, kept.parts(0).get(0), place);
                kept.close();
                fill(place, 7);
                device.synchronize();
                assertAll(7, TestDevices.hostFloats(device, place));
            }
            return null;
        });
    }

    @Test
    void whatIsOnItsWayComesBeforeTheEnd() throws Exception {
        CudaRanks.run(1, 1, 0, (device, group) -> {
            try (Memory host = device.hostMemory(Purpose.GRADIENTS);
                    Memory memory = device.memory(Purpose.GRADIENTS)) {
                Tensor gradient = Inputs.floats(device, memory, new float[] {3, 3, 3}, 3);
                Tensor sum = host.allocate(DType.F32, 3);
                SimulatedDriver.slow(Lane.TO_HOST, SLOW_MICROS);
                GradientArrivals arrivals = new GradientArrivals(device, host, new Tensor[] {sum});
                arrivals.beginRound(true, true);
                arrivals.take(0, gradient, device.issued());
                arrivals.close();
                assertEquals(3, HostBytes.view(sum.address(), sum.bytes()).getFloat(0));
                assertEquals(27, arrivals.sumOfSquares(0));
            }
            return null;
        });
    }

    @Test
    void aBufferIsFilledAnewWhenItsGradientHasCome() throws Exception {
        TunedModel model = TunedModel.full(ModelConfigReader.read(base));
        ShardPlan plan = ZeroEngine.planOf(model.units(), 1);
        CudaRanks.run(1, 1, 0, (device, group) -> {
            try (Memory host = device.hostMemory(Purpose.GRADIENTS);
                    Memory memory = device.memory(Purpose.GRADIENTS);
                    GradientStore store =
                            new GradientStore(group, plan, model, device, true, memory, host, DType.F32, false)) {
                float[] ones = new float[(int) plan.paddedElements(UNIT)];
                Arrays.fill(ones, 1);
                Tensor gradient = Inputs.floats(device, memory, ones, ones.length);
                SimulatedDriver.slow(Lane.TO_HOST, SLOW_MICROS);
                for (int round = 1; round <= 2; round++) {
                    store.beginRound(round == 1, round == 2);
                    Tensor buffer = store.acquire(UNIT);
                    device.ops().zero(buffer);
                    device.ops().add(buffer, buffer, gradient);
                    store.reduce(UNIT, false);
                    device.ops().zero(store.acquire(UNIT));
                    store.finishAll();
                    assertAll(round, TestDevices.hostFloats(device, store.here(UNIT)));
                }
            }
            return null;
        });
    }

    /** A slice as large as the room for what is reduced leaves before the next one is reduced there. */
    @Test
    void aSliceLeavesBeforeTheNextTakesItsPlace() throws Exception {
        DecoderConfig wide = new DecoderConfig(
                Names.CHATGLM, 4000, 48, 2, new AttentionShape(4, 2, 12, 6, true), 64, 1e-5f, 1e4, 64, true, false);
        TunedModel model = TunedModel.full(wide);
        ShardPlan plan = ZeroEngine.planOf(model.units(), 2);
        int head = model.units().size() - 1;
        CudaRanks.run(2, 1, 0, (device, group) -> {
            try (Memory host = device.hostMemory(Purpose.GRADIENTS);
                    Memory memory = device.memory(Purpose.GRADIENTS);
                    GradientStore store =
                            new GradientStore(group, plan, model, device, true, memory, host, DType.F32, false)) {
                SimulatedDriver.slow(Lane.TO_HOST, SLOW_MICROS);
                store.beginRound(true, false);
                for (int unit = head; unit >= 0; unit--) {
                    float[] values = new float[(int) plan.paddedElements(unit)];
                    Arrays.fill(values, unit + 1);
                    Tensor given = Inputs.floats(device, memory, values, values.length);
                    Tensor gradient = store.acquire(unit);
                    device.ops().zero(gradient);
                    device.ops().add(gradient, gradient, given);
                    store.reduce(unit, false);
                }
                store.finishAll();
                for (int unit = 0; unit <= head; unit++) {
                    float[] sums = TestDevices.hostFloats(device, store.here(unit));
                    assertAll(2 * (unit + 1), sums);
                }
            }
            return null;
        });
    }

    /** Weights come through page-locked memory that serves one matrix after the other. */
    @ParameterizedTest
    @EnumSource(Quantization.class)
    void weightsAreLoadedWhole(Quantization how) throws Exception {
        assertEquals(loss(how, 0), loss(how, 20_000));
    }

    private double loss(Quantization how, int slowMicros) throws Exception {
        return CudaRanks.run(1, 1, 0, (device, group) -> {
                    if (slowMicros > 0) {
                        SimulatedDriver.slow(Lane.TO_DEVICE, slowMicros);
                    }
                    return loss(how, device, group);
                })
                .get(0);
    }

    private double loss(Quantization how, CudaDevice device, Collectives group) throws Exception {
        TunedModel model =
                Tuning.of(ModelConfigReader.read(base), new TuningMethod.Lora(8, 32, 0, List.of("all"), how));
        EngineConfig config = new EngineConfig(DType.F32, 2, true, TinyModel.ADAMW, 1.0, 128);
        try (ZeroEngine engine = new ZeroEngine(model, config, device, group);
                TensorSource train = TinyModel.open(base.resolve("train.safetensors"))) {
            StartWeights.fillAll(
                    new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.empty()), 1, engine);
            engine.publishMaster();
            return engine.evaluate(TinyModel.microBatches(train, 1, 4).get(0));
        }
    }
}
