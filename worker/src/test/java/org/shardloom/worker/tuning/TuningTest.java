package org.shardloom.worker.tuning;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/** Which units a method makes of a model, and what it refuses. */
class TuningTest {
    private static final DecoderConfig LLAMA = config(DecoderConfig.Names.LLAMA);
    private static final DecoderConfig GLM = config(DecoderConfig.Names.CHATGLM);

    private static DecoderConfig config(DecoderConfig.Names names) {
        return new DecoderConfig(
                names, 96, 48, 3, new AttentionShape(4, 2, 12, 12, false), 64, 1e-5f, 10000, 64, true, false);
    }

    private static List<String> trained(TunedModel model) {
        return model.trained().stream().map(UnitSpec::name).toList();
    }

    private static String refused(DecoderConfig config, TuningMethod method) {
        return assertThrows(TuningException.class, () -> Tuning.of(config, method))
                .getMessage();
    }

    @Test
    void freezeTrainsWholeUnitsAndPartsOfOthers() {
        TunedModel model =
                Tuning.of(GLM, new TuningMethod.Freeze(List.of("layers.0.input_layernorm", "final_layernorm"), 1));
        assertEquals(List.of("layers.0.trained", "layers.2", "head.trained"), trained(model));
        assertEquals(1, model.lowestTrainedBlock());
        assertEquals("layers.0", model.trained().get(0).root());
    }

    @Test
    void aPatternThatTheLastLayersCoverIsNoMistake() {
        TunedModel model = Tuning.of(GLM, new TuningMethod.Freeze(List.of("layers.2."), 1));
        assertEquals(List.of("layers.2"), trained(model));
    }

    @Test
    void namesThatMatchNothingAreRefusedWithThoseThatThereAre() {
        String message = refused(GLM, new TuningMethod.Freeze(List.of("layers.7."), 0));
        assertTrue(message.contains("'layers.7.'") && message.contains("layers.N.mlp.dense_4h_to_h.weight"), message);
        message = refused(LLAMA, new TuningMethod.Freeze(List.of("k_proj.weight"), 0));
        assertTrue(message.contains("cannot be trained without") && message.contains("q_proj.weight"), message);
        message = refused(GLM, new TuningMethod.Freeze(List.of(), 4));
        assertTrue(message.contains("3 layers"), message);
        message = refused(GLM, new TuningMethod.Lora(8, 16, 0, List.of("q_proj")));
        assertTrue(message.contains("q_proj") && message.contains("query_key_value"), message);
    }

    @Test
    void adaptersActOnTheRowsOfTheirModule() {
        TunedModel model = Tuning.of(LLAMA, new TuningMethod.Lora(2, 4, 0, List.of("k_proj", "down_proj")));
        assertEquals(List.of("layers.0.lora", "layers.1.lora", "layers.2.lora"), trained(model));
        assertEquals(2, model.adapters().sites().size());
        assertEquals(48, model.adapters().sites().get(0).firstRow());
        assertEquals(24, model.adapters().sites().get(0).rows());
        assertEquals(2f, model.adapters().scale());
        assertEquals(
                3 * (2 * 48 + 24 * 2 + 2 * 64 + 48 * 2),
                model.trained().stream().mapToLong(UnitSpec::parameterCount).sum());
    }

    @Test
    void whatIsKeptInFourBitsIsSaidToTheByte() {
        TuningMethod.Lora lora = new TuningMethod.Lora(2, 4, 0, List.of("all"), TuningMethod.Quantization.NF4);
        List<String> lines = TrainedSummary.lines(Tuning.of(GLM, lora));
        // Four matrices a layer, each padded to 16,384 elements: half a byte each, and a scale of four bytes for 64.
        long matrices = 3 * (48 * 96 + 48 * 48 + 48 * 128 + 64 * 48);
        long bytes = 3 * 4 * (16384 / 2 + 16384 / 64 * 4);
        assertEquals(
                String.format(
                        java.util.Locale.ROOT,
                        "  kept in NF4: %,d parameters in %,d bytes, %.3f bits each",
                        matrices,
                        bytes,
                        8.0 * bytes / matrices),
                lines.get(2));
        long trained = Tuning.of(GLM, lora).trained().stream()
                .mapToLong(UnitSpec::parameterCount)
                .sum();
        assertTrue(
                lines.get(1).contains(String.format(java.util.Locale.ROOT, "%,d bytes", 16 * trained)), lines.get(1));
    }

    @Test
    void whatIsTrainedIsSummedUpOverLayers() {
        List<String> lines =
                TrainedSummary.lines(Tuning.of(GLM, new TuningMethod.Freeze(List.of("layers.0.input_layernorm"), 1)));
        assertTrue(lines.get(0).startsWith("trained: "), lines.get(0));
        long all = DecoderUnits.of(GLM).stream()
                .mapToLong(UnitSpec::parameterCount)
                .sum();
        String share = String.format(java.util.Locale.ROOT, "%.4g %%", 100.0 * 96 / all);
        assertTrue(
                lines.contains("  transformer.encoder.layers.*.input_layernorm.weight (layers 0, 2): 96, " + share),
                lines.toString());
    }
}
