package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;

/** Freeze: what lies below the lowest trained layer costs no gradients, no activations, no reduction. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class FrozenCostsTest {
    private static final int LAYERS = 4;
    private final DecoderConfig config = SmallModels.chatglm(LAYERS);
    private final PackedBatch batch = SmallModels.batch(config, 5);

    private ZeroEngine engine(TuningMethod method, boolean recompute, CpuDevice device, Collectives group)
            throws IOException {
        EngineConfig how = new EngineConfig(DType.F32, 3, recompute, TinyModel.ADAMW, 1.0, 64);
        ZeroEngine engine = new ZeroEngine(Tuning.of(config, method), how, device, group);
        StartWeights.fillAll(
                new ModelConfigSource(Path.of("."), ModelConfigSource.Init.RANDOM, Optional.empty()), 1, engine);
        engine.publishMaster();
        return engine;
    }

    private StepInput twoRounds() {
        double divisor = 2.0 * batch.targets().length;
        return new StepInput(List.of(batch, batch), List.of(divisor, divisor), 2, 0);
    }

    private static TuningMethod last(int layers) {
        return new TuningMethod.Freeze(List.of(), layers);
    }

    /** Activations at the peak of a step. */
    private long activations(TuningMethod method, boolean recompute) throws IOException {
        try (CpuDevice device = new CpuDevice(1);
                ZeroEngine engine = engine(method, recompute, device, new LocalCollectives())) {
            // Of one round: alone, a rank has the gradients' buffers from the second one on.
            engine.step(new StepInput(List.of(batch), List.of((double) batch.targets().length), 1, 0));
            assertEquals(0, device.statistics().currentByPurpose().get(Purpose.ACTIVATIONS));
            return device.statistics().peakByPurpose().get(Purpose.ACTIVATIONS);
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void everyFrozenLayerAtTheBottomSavesTheActivationsOfALayer(boolean recompute) throws IOException {
        long[] peaks = new long[LAYERS];
        for (int n = 0; n < LAYERS; n++) {
            peaks[n] = activations(last(n + 1), recompute);
        }
        long layer = peaks[1] - peaks[0];
        assertTrue(layer >= (long) batch.tokens() * config.hidden() * 4, "a layer's input at least, found " + layer);
        for (int n = 1; n < LAYERS; n++) {
            assertEquals(layer, peaks[n] - peaks[n - 1], "with " + (n + 1) + " trained layers");
        }
        assertEquals(
                peaks[LAYERS - 1], activations(new TuningMethod.Full(), recompute), layer, "all but the embedding");
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void gradientsAreThoseOfTheTrainedLayers(int world) throws Exception {
        Ranks.run(world, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = engine(last(2), true, device, group)) {
                engine.step(twoRounds());
                assertEquals(2, engine.units().size());
                // An fp32 sum of the slices, and a buffer for each of two neighbouring layers.
                long elements = 0;
                for (int u = 0; u < 2; u++) {
                    elements += engine.plan().sliceElements(u) + engine.plan().paddedElements(u);
                }
                assertEquals(
                        4 * elements, device.statistics().currentByPurpose().get(Purpose.GRADIENTS));
                return null;
            }
        });
    }

    @Test
    void unitsBelowTheLowestTrainedOneAreNeitherReducedNorGatheredForBackward() throws Exception {
        Ranks.run(2, (rank, group) -> {
            CountedCollectives counted = CountedCollectives.over(SeparateMemories.over(group));
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = engine(last(2), true, device, counted)) {
                counted.reductions().clear();
                counted.gathers().clear();
                engine.step(twoRounds());
                List<Long> trained = new ArrayList<>();
                for (int round = 0; round < 2; round++) {
                    for (int u = engine.units().size() - 1; u >= 0; u--) {
                        trained.add(engine.gradientSum(u).address());
                    }
                }
                assertEquals(trained, counted.reductions(), "from the top down to the lowest trained layer");
                List<UnitSpec> units = engine.model().units();
                for (int u = 0; u < units.size(); u++) {
                    long address = engine.parameterSlice(u).address();
                    boolean layer = units.get(u).block() >= 1 && units.get(u).block() <= LAYERS;
                    long gathers =
                            counted.gathers().stream().filter(a -> a == address).count();
                    assertEquals(
                            layer && units.get(u).trained() ? 4 : 2,
                            gathers,
                            units.get(u).name());
                }
                return null;
            } finally {
                counted.close();
            }
        });
    }
}
