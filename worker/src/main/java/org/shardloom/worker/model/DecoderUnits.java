package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.worker.model.ParameterSpec.Kind;

/** The units of a decoder and the names that checkpoint files give their parameters. */
public final class DecoderUnits {
    private DecoderUnits() {}

    /** Embedding, layers, head: one unit each, all trained. */
    public static List<UnitSpec> of(DecoderConfig config) {
        if (config.firstGlm()) {
            return FirstGlmUnits.of(config);
        }
        List<UnitSpec> units = new ArrayList<>();
        boolean glm = config.names() == DecoderConfig.Names.CHATGLM;
        long hidden = config.hidden();
        units.add(new UnitSpec.Builder("embedding", 0)
                .add(
                        "weight",
                        Kind.WEIGHT,
                        hidden,
                        glm ? "transformer.embedding.word_embeddings.weight" : "model.embed_tokens.weight",
                        config.vocabulary())
                .build());
        for (int layer = 0; layer < config.layers(); layer++) {
            units.add(glm ? chatglmLayer(config, layer) : llamaLayer(config, layer));
        }
        UnitSpec.Builder head = new UnitSpec.Builder("head", config.layers() + 1)
                .add(
                        "norm.weight",
                        Kind.NORM,
                        1,
                        glm ? "transformer.encoder.final_layernorm.weight" : "model.norm.weight",
                        hidden);
        if (!config.tiedEmbeddings()) {
            head.add(
                    "output.weight",
                    Kind.WEIGHT,
                    hidden,
                    glm ? "transformer.output_layer.weight" : "lm_head.weight",
                    config.vocabulary());
        }
        units.add(head.build());
        return List.copyOf(units);
    }

    private static UnitSpec chatglmLayer(DecoderConfig c, int layer) {
        String prefix = "transformer.encoder.layers." + layer + ".";
        UnitSpec.Builder unit = new UnitSpec.Builder("layers." + layer, layer + 1)
                .add("norm1.weight", Kind.NORM, 1, prefix + "input_layernorm.weight", c.hidden())
                .add(
                        "qkv.weight",
                        Kind.WEIGHT,
                        c.hidden(),
                        prefix + "self_attention.query_key_value.weight",
                        c.attention().qkvWidth());
        if (c.qkvBias()) {
            unit.add(
                    "qkv.bias",
                    Kind.BIAS,
                    1,
                    prefix + "self_attention.query_key_value.bias",
                    c.attention().qkvWidth());
        }
        return unit.add(
                        "attention.output.weight",
                        Kind.RESIDUAL_WEIGHT,
                        c.attention().contextWidth(),
                        prefix + "self_attention.dense.weight",
                        c.hidden())
                .add("norm2.weight", Kind.NORM, 1, prefix + "post_attention_layernorm.weight", c.hidden())
                .add(
                        "gate_up.weight",
                        Kind.WEIGHT,
                        c.hidden(),
                        prefix + "mlp.dense_h_to_4h.weight",
                        2L * c.feedForward())
                .add(
                        "down.weight",
                        Kind.RESIDUAL_WEIGHT,
                        c.feedForward(),
                        prefix + "mlp.dense_4h_to_h.weight",
                        c.hidden())
                .build();
    }

    private static UnitSpec llamaLayer(DecoderConfig c, int layer) {
        String prefix = "model.layers." + layer + ".";
        long q = c.attention().contextWidth();
        long kv = (long) c.attention().groups() * c.attention().headSize();
        String attention = prefix + "self_attn.";
        UnitSpec.Builder unit = new UnitSpec.Builder("layers." + layer, layer + 1)
                .add("norm1.weight", Kind.NORM, 1, prefix + "input_layernorm.weight", c.hidden())
                .add(
                        "qkv.weight",
                        Kind.WEIGHT,
                        c.hidden(),
                        attention + "q_proj.weight",
                        q,
                        attention + "k_proj.weight",
                        kv,
                        attention + "v_proj.weight",
                        kv);
        if (c.qkvBias()) {
            unit.add(
                    "qkv.bias",
                    Kind.BIAS,
                    1,
                    attention + "q_proj.bias",
                    q,
                    attention + "k_proj.bias",
                    kv,
                    attention + "v_proj.bias",
                    kv);
        }
        return unit.add("attention.output.weight", Kind.RESIDUAL_WEIGHT, q, attention + "o_proj.weight", c.hidden())
                .add("norm2.weight", Kind.NORM, 1, prefix + "post_attention_layernorm.weight", c.hidden())
                .add(
                        "gate_up.weight",
                        Kind.WEIGHT,
                        c.hidden(),
                        prefix + "mlp.gate_proj.weight",
                        c.feedForward(),
                        prefix + "mlp.up_proj.weight",
                        c.feedForward())
                .add("down.weight", Kind.RESIDUAL_WEIGHT, c.feedForward(), prefix + "mlp.down_proj.weight", c.hidden())
                .build();
    }
}
