package org.shardloom.worker.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.worker.weights.SharedFixtures;

/** Published configurations, and how others are refused. */
@Timeout(value = 30, unit = TimeUnit.SECONDS)
class ModelConfigReaderTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String LLAMA =
            """
            {"model_type": "llama", "hidden_size": 64, "intermediate_size": 172, "num_attention_heads": 8,
             "num_hidden_layers": 5, "vocab_size": 512}
            """;
    private static final String QWEN2 =
            """
            {"model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14,
             "num_key_value_heads": 2, "num_hidden_layers": 24, "vocab_size": 151936, "rms_norm_eps": 1e-6,
             "rope_theta": 1000000.0, "tie_word_embeddings": true, "use_sliding_window": false, "sliding_window": 32768,
             "max_window_layers": 21, "max_position_embeddings": 32768, "attention_dropout": 0.0, "hidden_act": "silu"}
            """;

    @TempDir
    Path directory;

    /** Of ChatGLM2-6B and ChatGLM3-6B but for seq_length. */
    private static final String CHATGLM =
            """
            {"model_type": "chatglm", "add_bias_linear": false, "add_qkv_bias": true, "ffn_hidden_size": 13696,
             "hidden_size": 4096, "kv_channels": 128, "layernorm_epsilon": 1e-05, "multi_query_attention": true,
             "multi_query_group_num": 2, "num_attention_heads": 32, "num_layers": 28, "padded_vocab_size": 65024,
             "seq_length": 8192, "rmsnorm": true, "post_layer_norm": true, "tie_word_embeddings": false}
            """;

    private DecoderConfig read(String json) throws Exception {
        Files.writeString(directory.resolve("config.json"), json);
        return ModelConfigReader.read(directory);
    }

    private static long parameters(DecoderConfig config) {
        return DecoderUnits.of(config).stream()
                .mapToLong(UnitSpec::parameterCount)
                .sum();
    }

    @Test
    void chatglm3HasExactlyTheParametersThatArePublished() throws Exception {
        DecoderConfig config = read(CHATGLM);
        assertEquals(6_243_584_000L, parameters(config));
        assertEquals(30, DecoderUnits.of(config).size());
        assertEquals(28, config.layers());
    }

    @ParameterizedTest
    @CsvSource({"chatglm2-6b,32768", "chatglm3-6b,8192"})
    void thePublishedConfigurationsAreUnderstood(String model, int positions) {
        DecoderConfig config = ModelConfigReader.read(SharedFixtures.shared("facts/models/" + model));
        assertEquals(
                new DecoderConfig(
                        DecoderConfig.Names.CHATGLM,
                        65024,
                        4096,
                        28,
                        new AttentionShape(32, 2, 128, 64, true),
                        13696,
                        1e-5f,
                        10000,
                        positions,
                        true,
                        false),
                config);
        assertEquals(6_243_584_000L, parameters(config));
    }

    @Test
    void theIndexOfChatglm3NamesExactlyTheTensorsOfTheUnits() {
        assertEquals(published("chatglm3-6b"), ours("chatglm3-6b"));
    }

    /** Without what is computed, and the output head that is the embedding. */
    private static List<String> published(String model) {
        Path index = SharedFixtures.shared("facts/models/" + model + "/pytorch_model.bin.index.json");
        List<String> published = new java.util.ArrayList<>();
        SharedFixtures.json(index).path("weight_map").fieldNames().forEachRemaining(published::add);
        published.removeIf(name -> name.endsWith("inv_freq") || name.equals("lm_head.weight"));
        return published.stream().sorted().toList();
    }

    private static List<String> ours(String model) {
        return DecoderUnits.of(ModelConfigReader.read(SharedFixtures.shared("facts/models/" + model))).stream()
                .flatMap(u -> u.parameters().values().stream())
                .flatMap(p -> p.sources().stream())
                .map(ParameterSpec.Source::name)
                .sorted()
                .toList();
    }

    @Test
    void theFirstChatglmHasExactlyTheParametersAndTheNamesThatArePublished() {
        DecoderConfig config = ModelConfigReader.read(SharedFixtures.shared("facts/models/chatglm-6b"));
        assertTrue(config.firstGlm() && config.tiedEmbeddings());
        assertEquals(new PrefixPositions.Markers(130001, 130000, 130004), config.markers());
        assertEquals(6_173_286_400L, parameters(config));
        assertEquals(published("chatglm-6b"), ours("chatglm-6b"));
    }

    @Test
    void qwen2HasBiasesAndTiedEmbeddings() throws Exception {
        DecoderConfig config = read(QWEN2);
        assertTrue(config.qkvBias());
        assertTrue(config.tiedEmbeddings());
        assertEquals(1e6, config.ropeBase());
        assertEquals(new AttentionShape(14, 2, 64, 64, false), config.attention());
        assertEquals(494_032_768L, parameters(config), "Qwen2-0.5B as published");
    }

    @Test
    void llamaHasItsDefaultsWhereTheFileIsSilent() throws Exception {
        DecoderConfig config = read(LLAMA);
        assertEquals(new AttentionShape(8, 8, 8, 8, false), config.attention());
        assertEquals(1e-6f, config.normEpsilon());
        assertEquals(10000, config.ropeBase());
        assertFalse(config.tiedEmbeddings());
        assertFalse(config.qkvBias());
    }

    @Test
    void newerFilesKeepTheRotaryBaseInRopeParameters() throws Exception {
        ObjectNode json = (ObjectNode) JSON.readTree(LLAMA);
        json.set("rope_parameters", JSON.readTree("{\"rope_type\": \"default\", \"rope_theta\": 500000.0}"));
        assertEquals(500000, read(json.toString()).ropeBase());
        json.set(
                "rope_parameters",
                JSON.readTree("{\"rope_type\": \"llama3\", \"rope_theta\": 500000.0, \"factor\": 8}"));
        String message = assertThrows(ModelConfigException.class, () -> read(json.toString()))
                .getMessage();
        assertTrue(message.contains("rope_parameters") && message.contains("llama3"), message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "chatglm | num_layers | \"28\" | num_layers must be a positive integer, found \"28\"",
                "chatglm | num_layers | 0 | num_layers must be a positive integer, found 0",
                "chatglm | padded_vocab_size | null | padded_vocab_size must be a positive integer",
                "chatglm | hidden_size | 4096.5 | hidden_size must be a positive integer",
                "chatglm | multi_query_group_num | 5 | 32 heads cannot share 5",
                "chatglm | kv_channels | 2 | rotate",
                "chatglm | rmsnorm | false | rmsnorm",
                "chatglm | quantization_bit | 4 | quantised (quantization_bit: 4)",
                "llama | quantization_config | {\"bits\": 4} | quantised (quantization_config)",
                "chatglm | add_bias_linear | true | add_bias_linear",
                "chatglm | post_layer_norm | false | post_layer_norm",
                "chatglm | apply_residual_connection_post_layernorm | true | apply_residual_connection_post_layernorm",
                "chatglm | attention_dropout | 0.1 | attention_dropout is not 0: dropout in the model itself is not supported, whatever",
                "chatglm | hidden_dropout | 0.1 | hidden_dropout",
                "chatglm | multi_query_attention | false | vocab_size must be a positive integer, found nothing",
                "llama | rope_scaling | {\"type\": \"linear\"} | rope_scaling",
                "llama | attention_bias | true | attention_bias",
                "llama | mlp_bias | true | mlp_bias",
                "llama | hidden_act | \"gelu\" | hidden_act",
                "llama | num_attention_heads | 3 | num_attention_heads",
                "llama | vocab_size | [] | vocab_size",
                "qwen2 | use_sliding_window | true | use_sliding_window",
                "qwen2 | num_key_value_heads | 3 | 14 heads cannot share 3",
                "qwen2 | model_type | \"gpt2\" | 'gpt2' is not one of chatglm, llama, qwen2"
            })
    void whatIsNotSupportedIsRefusedWithTheFileAndTheKey(String base, String key, String value, String expected)
            throws Exception {
        ObjectNode json =
                (ObjectNode) JSON.readTree(base.equals("chatglm") ? CHATGLM : base.equals("llama") ? LLAMA : QWEN2);
        json.set(key, JSON.readTree(value));
        String message = assertThrows(ModelConfigException.class, () -> read(json.toString()))
                .getMessage();
        assertTrue(message.startsWith(directory.resolve("config.json").toString()), message);
        assertTrue(message.contains(expected), message);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {"{ | not JSON", "'' | model_type", "[] | model_type", "7 | model_type", "{} | model_type"})
    void whatIsNoConfigurationIsRefusedWithTheFile(String text, String expected) {
        String message =
                assertThrows(ModelConfigException.class, () -> read(text)).getMessage();
        assertTrue(message.startsWith(directory.resolve("config.json").toString()), message);
        assertTrue(message.contains(expected), message);
    }

    @Test
    void aMissingFileIsNamed() {
        String message = assertThrows(ModelConfigException.class, () -> ModelConfigReader.read(directory))
                .getMessage();
        assertTrue(message.contains("config.json"), message);
    }
}
