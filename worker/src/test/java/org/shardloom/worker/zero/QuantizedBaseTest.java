package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.TrainedSummary;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;

/** QLoRA's base: real bytes, while it is loaded and after, and losses that do not depend on the number of ranks. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class QuantizedBaseTest {
    private static final Pattern KEPT = Pattern.compile("kept in NF4: ([0-9,]+) parameters in ([0-9,]+) bytes");
    private final Path base = SharedFixtures.tinyChatglm3();

    private TunedModel model(Quantization how) {
        return Tuning.of(ModelConfigReader.read(base), new TuningMethod.Lora(8, 32, 0, List.of("all"), how));
    }

    private ZeroEngine engine(Quantization how, DType dtype, int stage, CpuDevice device, Collectives group)
            throws Exception {
        EngineConfig config = new EngineConfig(dtype, stage, true, TinyModel.ADAMW, 1.0, 128);
        ZeroEngine engine = new ZeroEngine(model(how), config, device, group);
        StartWeights.fillAll(
                new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.empty()), 1, engine);
        engine.publishMaster();
        return engine;
    }

    /** What the list of trained parameters says about the base. */
    private static long bytesSaid(TunedModel model) {
        for (String line : TrainedSummary.lines(model)) {
            Matcher kept = KEPT.matcher(line);
            if (kept.find()) {
                return Long.parseLong(kept.group(2).replace(",", ""));
            }
        }
        throw new AssertionError("nothing is said about NF4");
    }

    @ParameterizedTest
    @EnumSource(
            value = Quantization.class,
            names = {"NF4", "NF4_DOUBLE"})
    void theBytesOfTheBaseAreThoseThatAreSaidAndNoMoreWhileItIsLoaded(Quantization how) throws Exception {
        TunedModel model = model(how);
        long others = model.units().stream()
                .filter(u -> u.quantization() == Quantization.NONE)
                .mapToLong(u -> u.elements() * (u.fp32() ? 4 : 2))
                .sum();
        long in16Bits = model.units().stream()
                .filter(u -> !u.added())
                .mapToLong(u -> u.elements() * 2)
                .sum();
        try (CpuDevice device = new CpuDevice(1);
                ZeroEngine engine = engine(how, DType.BF16, 3, device, new LocalCollectives())) {
            Map<Purpose, Long> held = device.statistics().currentByPurpose();
            assertEquals(bytesSaid(engine.model()) + others, held.get(Purpose.PARAMETERS));
            assertEquals(0, held.get(Purpose.GATHERED));
            long peak = device.statistics().peakBytes();
            assertEquals(device.statistics().currentBytes(), peak, "nothing was held that is not held now");
            // Master weights, moments and gradients are the adapters'.
            peak -= held.get(Purpose.OPTIMIZER) + held.get(Purpose.GRADIENTS);
            assertTrue(peak < in16Bits, peak + " bytes, " + in16Bits + " in 16 bits");
        }
    }

    /** A model's numbers out of nothing; remembers how much was read at once, and what was resident meanwhile. */
    private static final class Watched implements TensorSource {
        int largest;
        long resident;

        @Override
        public Map<String, TensorInfo> tensors() {
            return Map.of();
        }

        @Override
        public void read(String name, long firstElement, FloatBuffer destination) {
            largest = Math.max(largest, destination.remaining());
            resident = Math.max(resident, NativeCpu.residentBytes(false));
            int state = (int) firstElement;
            while (destination.hasRemaining()) {
                state = state * 1664525 + 1013904223;
                destination.put((state >> 8) * 0x1p-26f);
            }
        }

        @Override
        public void readRaw(String name, long firstElement, ByteBuffer destination) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {}
    }

    /** The layers' matrices: 60 million values, 120 MB in 16 bits, 33 MB in NF4. */
    @ParameterizedTest
    @EnumSource(
            value = Quantization.class,
            names = {"NF4", "NF4_DOUBLE"})
    void aModelIsNeverThereIn16BitsWhileItIsLoaded(Quantization how) throws Exception {
        DecoderConfig large = new DecoderConfig(
                DecoderConfig.Names.CHATGLM,
                96,
                1024,
                4,
                new AttentionShape(16, 2, 64, 32, true),
                4096,
                1e-5f,
                1e4,
                64,
                true,
                false);
        TunedModel model = Tuning.of(large, new TuningMethod.Lora(8, 32, 0, List.of("all"), how));
        long matrices = model.units().stream()
                .filter(u -> u.quantization() == how)
                .mapToLong(UnitSpec::parameterCount)
                .sum();
        assertTrue(matrices > 50_000_000, matrices + " values");
        EngineConfig config = new EngineConfig(DType.BF16, 3, true, TinyModel.ADAMW, 1.0, 64);
        Watched files = new Watched();
        long before = NativeCpu.residentBytes(false);
        try (CpuDevice device = new CpuDevice(1);
                ZeroEngine engine = new ZeroEngine(model, config, device, new LocalCollectives())) {
            engine.quantize(files);
            files.resident = Math.max(files.resident, NativeCpu.residentBytes(false));
        }
        assertTrue(files.largest <= 1 << 20, files.largest + " values read at once");
        long grown = files.resident - before;
        assertTrue(grown > matrices / 2, grown + " bytes resident, fewer than the codes take");
        assertTrue(grown < matrices * 3 / 2, grown + " bytes resident for " + matrices + " values");
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void scalesIn32BitsTrainAlikeOnAnyNumberOfRanks(int stage) throws Exception {
        List<Double> alone = losses(Quantization.NF4, stage, 1);
        List<Double> ofThree = losses(Quantization.NF4, stage, 3);
        List<Double> twice = losses(Quantization.NF4_DOUBLE, stage, 1);
        for (int i = 0; i < alone.size(); i++) {
            assertEquals(alone.get(i), ofThree.get(i), 1e-6, "step " + (i + 1));
        }
        assertNotEquals(alone.get(0), twice.get(0), 1e-7, "quantised scales are not those");
        assertTrue(alone.get(7) < alone.get(0) - 0.1, alone + " does not fall");
    }

    private List<Double> losses(Quantization how, int stage, int world) throws Exception {
        return Ranks.run(world, (rank, group) -> {
                    List<Double> found = new ArrayList<>();
                    try (TensorSource train = TinyModel.open(base.resolve("train.safetensors"));
                            CpuDevice device = new CpuDevice(1);
                            ZeroEngine engine = engine(how, DType.F32, stage, device, group)) {
                        List<PackedBatch> all = TinyModel.microBatches(train, 1, 4);
                        for (int step = 1; step <= 8; step++) {
                            found.add(TuningMethodsTest.step(engine, all, 1e-2).loss());
                        }
                    }
                    return found;
                })
                .get(0);
    }

    @Test
    void aRandomBaseHasTheNumbersThatItHasUnquantised() throws Exception {
        double[] losses = new double[3];
        for (Quantization how : Quantization.values()) {
            EngineConfig config = new EngineConfig(DType.F32, 3, true, TinyModel.ADAMW, 1.0, 128);
            try (TensorSource train = TinyModel.open(base.resolve("train.safetensors"));
                    CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = new ZeroEngine(model(how), config, device, new LocalCollectives())) {
                StartWeights.fillAll(
                        new ModelConfigSource(base, ModelConfigSource.Init.RANDOM, Optional.empty()), 7, engine);
                engine.publishMaster();
                PackedBatch batch = TinyModel.microBatches(train, 1, 4).get(0);
                losses[how.ordinal()] = engine.evaluate(batch) / batch.targets().length;
            }
        }
        for (Quantization how : List.of(Quantization.NF4, Quantization.NF4_DOUBLE)) {
            assertEquals(losses[0], losses[how.ordinal()], 0.02, how.toString());
            assertNotEquals(losses[0], losses[how.ordinal()], 1e-7, how.toString());
        }
    }
}
