package org.shardloom.worker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;

class NoDecayTest {
    private static final UnitSpec LAYER = new UnitSpec.Builder("layers.3", 4)
            .add("norm1.weight", ParameterSpec.Kind.NORM, 8, "encoder.layers.3.input_layernorm.weight", 1)
            .add(
                    "qkv.bias",
                    ParameterSpec.Kind.BIAS,
                    8,
                    "encoder.layers.3.query.bias",
                    1,
                    "encoder.layers.3.key.bias",
                    1)
            .add("down.weight", ParameterSpec.Kind.WEIGHT, 8, "encoder.layers.3.dense_4h_to_h.weight", 8)
            .build();

    private static List<String> matching(String pattern) {
        NoDecay rule = new NoDecay(List.of(pattern));
        return LAYER.parameters().values().stream()
                .filter(p -> rule.matches(LAYER, p))
                .map(ParameterSpec::name)
                .toList();
    }

    @Test
    void aPatternMatchesAnyPartOfAnyOfAParametersNames() {
        assertEquals(List.of("norm1.weight"), matching("norm"));
        assertEquals(List.of("norm1.weight"), matching("layernorm"));
        assertEquals(List.of("qkv.bias"), matching("key.bias"));
        assertEquals(List.of("norm1.weight", "qkv.bias", "down.weight"), matching("layers.3."));
        assertEquals(List.of(), matching("layers.4"));
    }

    @Test
    void aStarStandsForAnythingAndNothingElseIsSpecial() {
        assertEquals(List.of("qkv.bias"), matching("*.bias"));
        assertEquals(List.of("down.weight"), matching("dense*weight"));
        assertEquals(List.of(), matching("dense.4h"));
        assertEquals(List.of(), matching("norm|bias"));
    }

    @Test
    void patternsThatExemptNothingAreFound() {
        assertEquals(
                List.of("layer_norm", "*.gamma"),
                new NoDecay(List.of("norm", "layer_norm", "*.bias", "*.gamma")).useless(List.of(LAYER)));
    }
}
