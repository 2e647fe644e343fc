package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.worker.model.ParameterSpec.Kind;

/** The units of ChatGLM-6B and the names that its checkpoints give their parameters. The output head is the embedding. */
final class FirstGlmUnits {
    private FirstGlmUnits() {}

    static List<UnitSpec> of(DecoderConfig config) {
        List<UnitSpec> units = new ArrayList<>();
        units.add(new UnitSpec.Builder("embedding", 0)
                .add("weight", Kind.WEIGHT, config.hidden(), "transformer.word_embeddings.weight", config.vocabulary())
                .build());
        for (int layer = 0; layer < config.layers(); layer++) {
            units.add(layer(config, layer));
        }
        UnitSpec.Builder head = new UnitSpec.Builder("head", config.layers() + 1);
        norm(head, "norm", "transformer.final_layernorm", config.hidden());
        units.add(head.build());
        return List.copyOf(units);
    }

    private static UnitSpec layer(DecoderConfig c, int layer) {
        String prefix = "transformer.layers." + layer + ".";
        long hidden = c.hidden();
        UnitSpec.Builder unit = new UnitSpec.Builder("layers." + layer, layer + 1);
        norm(unit, "norm1", prefix + "input_layernorm", hidden);
        linear(
                unit,
                "qkv",
                Kind.WEIGHT,
                prefix + "attention.query_key_value",
                hidden,
                c.attention().qkvWidth());
        linear(unit, "attention.output", Kind.RESIDUAL_WEIGHT, prefix + "attention.dense", hidden, hidden);
        norm(unit, "norm2", prefix + "post_attention_layernorm", hidden);
        linear(unit, "up", Kind.WEIGHT, prefix + "mlp.dense_h_to_4h", hidden, c.feedForward());
        linear(unit, "down", Kind.RESIDUAL_WEIGHT, prefix + "mlp.dense_4h_to_h", c.feedForward(), hidden);
        return unit.build();
    }

    private static void norm(UnitSpec.Builder unit, String name, String file, long width) {
        unit.add(name + ".weight", Kind.NORM, 1, file + ".weight", width)
                .add(name + ".bias", Kind.BIAS, 1, file + ".bias", width);
    }

    private static void linear(UnitSpec.Builder unit, String name, Kind kind, String file, long in, long out) {
        unit.add(name + ".weight", kind, in, file + ".weight", out)
                .add(name + ".bias", Kind.BIAS, 1, file + ".bias", out);
    }
}
