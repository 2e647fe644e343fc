package org.shardloom.worker.model;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.AttentionShape.Layout;
import org.shardloom.kernels.device.AttentionShape.Rotation;

/** Reads the config.json of ChatGLM-6B, ChatGLM2, ChatGLM3, Llama and Qwen2 checkpoints as published. */
public final class ModelConfigReader {
    private final Path file;
    private final JsonNode json;

    private ModelConfigReader(Path file, JsonNode json) {
        this.file = file;
        this.json = json;
    }

    /**
     * The decoder that the directory's config.json describes.
     *
     * @throws ModelConfigException with the file and what is wrong with it
     */
    public static DecoderConfig read(Path directory) {
        return read(file(directory), json(directory));
    }

    /**
     * The decoder that the text of a config.json describes.
     *
     * @param where it is from, for errors
     */
    public static DecoderConfig parse(String text, Path where) {
        try {
            return read(where, new ObjectMapper().readTree(text));
        } catch (JsonProcessingException e) {
            throw new ModelConfigException(where + ": not JSON: " + e.getOriginalMessage());
        }
    }

    private static DecoderConfig read(Path file, JsonNode json) {
        ModelConfigReader reader = new ModelConfigReader(file, json);
        String type = json.path("model_type").asText("");
        int bits = json.path("quantization_bit").asInt(0);
        reader.require(
                bits == 0 && json.path("quantization_config").isEmpty(),
                "the weights are quantised (" + (bits != 0 ? "quantization_bit: " + bits : "quantization_config")
                        + "); take the model with weights of 16 or 32 bits: method.type qlora quantises it while loading");
        try {
            return switch (type) {
                case "chatglm" -> isFirstChatglm(json) ? reader.firstChatglm() : reader.chatglm();
                case "llama" -> reader.llama(false);
                case "qwen2" -> reader.llama(true);
                default -> throw reader.error("model_type '" + type + "' is not one of chatglm, llama, qwen2");
            };
        } catch (IllegalArgumentException e) {
            throw reader.error(e.getMessage());
        }
    }

    /**
     * The directory's config.json as it stands.
     *
     * @throws ModelConfigException if it cannot be read or is no JSON
     */
    public static JsonNode json(Path directory) {
        Path file = file(directory);
        try {
            return new ObjectMapper().readTree(Files.readString(file));
        } catch (JsonProcessingException e) {
            throw new ModelConfigException(file + ": not JSON: " + e.getOriginalMessage());
        } catch (NoSuchFileException e) {
            throw new ModelConfigException("no such file: " + file + "; a model's directory has one");
        } catch (IOException e) {
            throw new ModelConfigException(file + ": cannot be read (" + e + ")");
        }
    }

    /** Whether a config.json is that of a ChatGLM-6B, the first ChatGLM: no multi-query attention. */
    public static boolean isFirstChatglm(JsonNode json) {
        return json.path("model_type").asText("").equals("chatglm")
                && !json.path("multi_query_attention").asBoolean(false);
    }

    private static Path file(Path directory) {
        return directory.resolve("config.json");
    }

    private DecoderConfig chatglm() {
        require(json.path("rmsnorm").asBoolean(true), "rmsnorm: false is not supported");
        require(!json.path("add_bias_linear").asBoolean(false), "add_bias_linear: true is not supported");
        require(
                !json.path("apply_residual_connection_post_layernorm").asBoolean(false),
                "apply_residual_connection_post_layernorm: true is not supported");
        require(json.path("post_layer_norm").asBoolean(true), "post_layer_norm: false is not supported");
        noDropout("attention_dropout");
        noDropout("hidden_dropout");
        int headSize = integer("kv_channels");
        int heads = integer("num_attention_heads");
        return new DecoderConfig(
                DecoderConfig.Names.CHATGLM,
                integer("padded_vocab_size"),
                integer("hidden_size"),
                integer("num_layers"),
                new AttentionShape(heads, integer("multi_query_group_num"), headSize, headSize / 2, true),
                integer("ffn_hidden_size"),
                (float) json.path("layernorm_epsilon").asDouble(1e-5),
                10000.0 * json.path("rope_ratio").asDouble(1.0),
                integer("seq_length"),
                json.path("add_qkv_bias").asBoolean(false),
                json.path("tie_word_embeddings").asBoolean(false));
    }

    private DecoderConfig firstChatglm() {
        require(json.path("position_encoding_2d").asBoolean(true), "position_encoding_2d: false is not supported");
        int hidden = integer("hidden_size");
        int heads = integer("num_attention_heads");
        require(
                hidden % heads == 0 && hidden / heads % 4 == 0,
                "heads of hidden_size / num_attention_heads = " + hidden + " / " + heads
                        + " elements cannot be rotated by two positions");
        int headSize = hidden / heads;
        return new DecoderConfig(
                DecoderConfig.Names.CHATGLM_6B,
                integer("vocab_size"),
                hidden,
                integer("num_layers"),
                new AttentionShape(heads, heads, headSize, headSize, Rotation.TWO_DIMENSIONAL, Layout.BY_HEAD),
                json.path("inner_hidden_size").isInt() ? integer("inner_hidden_size") : 4 * hidden,
                (float) json.path("layernorm_epsilon").asDouble(1e-5),
                10000.0,
                json.path("max_sequence_length").asInt(2048),
                true,
                true,
                new PrefixPositions.Markers(
                        integer("gmask_token_id"), integer("mask_token_id"), integer("bos_token_id")));
    }

    private DecoderConfig llama(boolean qwen) {
        noDropout("attention_dropout");
        require(
                json.path("rope_scaling").isMissingNode()
                        || json.path("rope_scaling").isNull(),
                "rope_scaling is not supported");
        String ropeType = json.path("rope_parameters").path("rope_type").asText("default");
        require(ropeType.equals("default"), "rope_parameters: rope_type '" + ropeType + "' is not supported");
        require(!json.path("mlp_bias").asBoolean(false), "mlp_bias: true is not supported");
        require(qwen || !json.path("attention_bias").asBoolean(false), "attention_bias: true is not supported");
        require(!json.path("use_sliding_window").asBoolean(false), "use_sliding_window: true is not supported");
        require("silu".equals(json.path("hidden_act").asText("silu")), "hidden_act must be silu");
        int heads = integer("num_attention_heads");
        boolean ownHeadSize = json.path("head_dim").isInt();
        require(
                ownHeadSize || integer("hidden_size") % heads == 0,
                "num_attention_heads must divide hidden_size, found " + heads + " and " + json.path("hidden_size"));
        int headSize = ownHeadSize ? integer("head_dim") : integer("hidden_size") / heads;
        int groups = json.path("num_key_value_heads").isInt() ? integer("num_key_value_heads") : heads;
        double base = json.path("rope_parameters")
                .path("rope_theta")
                .asDouble(json.path("rope_theta").asDouble(10000));
        return new DecoderConfig(
                DecoderConfig.Names.LLAMA,
                integer("vocab_size"),
                integer("hidden_size"),
                integer("num_hidden_layers"),
                new AttentionShape(heads, groups, headSize, headSize, false),
                integer("intermediate_size"),
                (float) json.path("rms_norm_eps").asDouble(1e-6),
                base,
                json.path("max_position_embeddings").asInt(2048),
                qwen,
                json.path("tie_word_embeddings").asBoolean(false));
    }

    private void noDropout(String key) {
        require(
                json.path(key).asDouble(0) == 0,
                key + " is not 0: dropout in the model itself is not supported, whatever the method; set it to 0"
                        + " (LoRA's own is method.dropout of the job file)");
    }

    private int integer(String key) {
        JsonNode value = json.path(key);
        require(
                value.isInt() && value.asInt() > 0,
                key + " must be a positive integer, found " + (value.isMissingNode() ? "nothing" : value));
        return value.asInt();
    }

    private void require(boolean condition, String message) {
        if (!condition) {
            throw error(message);
        }
    }

    private ModelConfigException error(String message) {
        return new ModelConfigException(file + ": " + message);
    }
}
