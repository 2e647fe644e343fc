package org.shardloom.worker.model;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.TestDevices;
import org.shardloom.worker.zero.TinyModel;

/** The residual stream after every layer, and the logits, against the original implementation in PyTorch. */
@Tag("any-device")
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class HiddenStatesTest {

    @ParameterizedTest
    @ValueSource(strings = {"kept with the tests", "tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3"})
    void everyLayersOutputAndTheLogitsEqualTheReference(String model) throws Exception {
        boolean kept = model.startsWith("kept");
        Path root = kept ? SharedFixtures.tinyChatglm3() : SharedFixtures.require(model);
        Path directory = kept ? root : root.resolve("safetensors-fp32");
        DecoderConfig config = ModelConfigReader.read(directory);
        try (TensorSource reference = TinyModel.open(root.resolve("reference.safetensors"));
                Device device = TestDevices.open();
                Memory memory = device.memory(Purpose.PARAMETERS);
                Decoder decoder = new Decoder(TunedModel.full(config), device, 64)) {
            List<UnitView> units = load(decoder, directory, device, memory);
            List<int[]> sequences = TinyModel.sequences(reference, "", 0, 3);
            PackedBatch packed = PackedBatch.of(sequences, sequences);
            BatchOnDevice batch = BatchOnDevice.of(device, memory, config, packed, false);
            Tensor x = memory.allocate(DType.F32, packed.tokens(), config.hidden());
            decoder.embed(BlockView.of(units.get(0)), batch, x);
            assertRows("hidden/0", reference, packed, Inputs.toFloats(device, x), config.hidden());
            for (int layer = 1; layer <= config.layers(); layer++) {
                Tensor out = memory.allocate(DType.F32, packed.tokens(), config.hidden());
                decoder.layer(BlockView.of(units.get(layer)), new LayerCall(layer - 1, batch, null, 0), x, memory, out);
                x = out;
                assertRows("hidden/" + layer, reference, packed, Inputs.toFloats(device, x), config.hidden());
            }
            UnitView head = units.get(config.layers() + 1);
            Tensor normed = memory.allocate(DType.F32, packed.tokens(), config.hidden());
            Norm norm = new Norm(config, device);
            norm.forward(BlockView.of(head), "norm", normed, norm.statistics(memory, packed.tokens()), x);
            assertRows("hidden/final", reference, packed, Inputs.toFloats(device, normed), config.hidden());
            int[] all = java.util.stream.IntStream.range(0, packed.tokens()).toArray();
            Tensor logits = decoder.logits(
                    BlockView.of(head), BlockView.of(units.get(0)), x, Inputs.indices(device, memory, all), memory);
            assertRows("logits", reference, packed, Inputs.toFloats(device, logits), config.vocabulary());
        }
    }

    private static List<UnitView> load(Decoder decoder, Path directory, Device device, Memory memory) throws Exception {
        List<UnitView> views = new ArrayList<>();
        try (TensorSource weights = WeightsDirectory.open(directory)) {
            for (UnitSpec unit : decoder.model().units()) {
                float[] floats = new float[(int) unit.elements()];
                for (ParameterSpec p : unit.parameters().values()) {
                    float[] values = weights.readAll(p.sources().get(0).name());
                    System.arraycopy(values, 0, floats, (int) p.offset(), values.length);
                }
                Tensor flat = Inputs.floats(device, memory, floats, floats.length);
                views.add(new UnitView(unit, flat));
            }
        }
        return views;
    }

    /** Compares packed rows with those of a padded [sequences, length, width] tensor. */
    private static void assertRows(String name, TensorSource reference, PackedBatch packed, float[] found, int width)
            throws Exception {
        float[] expected = reference.readAll(name);
        int length = reference.info(name).shape().get(1).intValue();
        for (int s = 0; s + 1 < packed.starts().length; s++) {
            for (int t = packed.starts()[s]; t < packed.starts()[s + 1]; t++) {
                int row = s * length + t - packed.starts()[s];
                for (int i = 0; i < width; i++) {
                    assertEquals(expected[row * width + i], found[t * width + i], 1e-4, name + " row " + row);
                }
            }
        }
    }
}
