package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.generate.MergeProbe;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/** What is said of adapters that change nothing. */
@Timeout(60)
class AdaptationTest {
    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"step\": 1, \"learning_rate\": 0.0}|true",
                "{\"step\": 1, \"learning_rate\": 0.0};{\"step\": 2, \"learning_rate\": 0}|true",
                "{\"step\": 1, \"learning_rate\": 1e-5};{\"step\": 2, \"learning_rate\": 0.0}|false",
                "{\"step\": 1, \"learning_rate\": 0.0};{\"step\": 2, \"learning_rate\": 1e-5}|false",
                "{\"step\": 1}|false",
                "no JSON|false",
                "''|false",
                "|false"
            })
    void theLearningRateIsNamedWhereItWasTheCause(String lines, boolean named) throws Exception {
        if (lines != null) {
            Files.writeString(directory.resolve("metrics.jsonl"), lines.replace(";", "\n"));
        }
        Path adapter = directory.resolve("final");
        String message = assertThrows(TuningException.class, () -> Adaptation.announceMerged(0, adapter))
                .getMessage();
        assertTrue(message.startsWith(adapter + " changes nothing"), message);
        assertEquals(named, message.contains("It was trained with a learning rate of 0, as " + directory), message);
        assertEquals(!named, message.contains("Was the adapter trained for at least one step"), message);
    }

    @Test
    void aMergedModelThatIsNotBaseAndAdapterTogetherIsRefused() {
        Adaptation.requireMerged(new MergeProbe.Merged(2, 0.01f, 0.02f), 2, "it", WeightDtype.F32);
        for (WeightDtype dtype : new WeightDtype[] {WeightDtype.F32, WeightDtype.BF16}) {
            for (MergeProbe.Merged wrong : new MergeProbe.Merged[] {
                new MergeProbe.Merged(0, 2, 1),
                new MergeProbe.Merged(Float.NaN, Float.NaN, 1),
                new MergeProbe.Merged(2, 1.5f, 1),
                new MergeProbe.Merged(2, Float.NaN, 1)
            }) {
                String message = assertThrows(
                                TuningException.class, () -> Adaptation.requireMerged(wrong, 2, "it", dtype))
                        .getMessage();
                assertEquals(
                        !(wrong.effect() > 0),
                        message.startsWith("it changes nothing: the logits are those of the base model"),
                        message);
                assertEquals(
                        wrong.effect() > 0,
                        message.startsWith("it is not the base model with the adapter: its logits differ"),
                        message);
                assertEquals(dtype != WeightDtype.F32, message.contains("merge with --dtype fp32"), message);
            }
        }
    }

    /** An adapter of two modules. */
    private Path adapter(float first, float second) throws Exception {
        String module = "base_model.model.transformer.encoder.layers.%d.self_attention.query_key_value.lora_%s.weight";
        TensorSource factors = null;
        for (int layer = 0; layer < 2; layer++) {
            float b = layer == 0 ? first : second;
            for (TensorSource factor : new TensorSource[] {
                new ArraySource(module.formatted(layer, "A"), new float[] {1, 2}, 1, 2),
                new ArraySource(module.formatted(layer, "B"), new float[] {0, b}, 2, 1)
            }) {
                factors = factors == null ? factor : new OverlaidSource(factors, factor);
            }
        }
        Path adapter = Files.createDirectories(directory.resolve("adapter"));
        AdapterFiles.write(adapter, new TuningMethod.Lora(1, 2, 0, List.of("query_key_value")), directory, factors);
        return adapter;
    }

    @Test
    void anAdapterThatTrainingStartsFromActs() throws Exception {
        Path adapter = adapter(1, 0);
        assertEquals(
                "training starts from " + adapter + ", which acts in 1 of its 2 modules",
                Adaptation.describeStart(adapter));
        String message = assertThrows(TuningException.class, () -> Adaptation.describeStart(adapter(0, 0)))
                .getMessage();
        assertTrue(
                message.startsWith("model.adapter: " + adapter + " changes nothing")
                        && message.contains("Was the adapter trained"),
                message);
        message = assertThrows(TuningException.class, () -> Adaptation.describeStart(adapter(1, Float.NaN)))
                .getMessage();
        assertTrue(message.contains("lora_B.weight has values that are not numbers"), message);
        AdapterFiles.write(
                directory,
                new TuningMethod.PTuning(1),
                directory,
                new ArraySource("prompt_embeddings", new float[] {0, 0}, 1, 2));
        assertEquals("training starts from " + directory, Adaptation.describeStart(directory));
    }
}
