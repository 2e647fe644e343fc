package org.shardloom.protocol.config;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.BiConsumer;

/** The options that each tuning method knows. */
final class MethodOptions {
    private static final int DEFAULT_RANK = 8;
    private static final int DEFAULT_PREFIX = 128;
    private static final int DEFAULT_VIRTUAL_TOKENS = 20;
    private static final Map<MethodConfig.Type, Set<String>> NAMES = Map.of(
            MethodConfig.Type.FULL, Set.of(),
            MethodConfig.Type.FREEZE, Set.of("train", "last_layers"),
            MethodConfig.Type.LORA, Set.of("rank", "alpha", "dropout", "targets", "bias"),
            MethodConfig.Type.QLORA,
                    Set.of("rank", "alpha", "dropout", "targets", "bias", "quantization", "double_quantization"),
            MethodConfig.Type.P_TUNING, Set.of("virtual_tokens"),
            MethodConfig.Type.P_TUNING_V2, Set.of("prefix_length", "projection"));

    private final Map<String, Object> options;
    private final BiConsumer<String, String> problem;

    private MethodOptions(Map<String, Object> options, BiConsumer<String, String> problem) {
        this.options = options;
        this.problem = problem;
    }

    /**
     * Reads the options of a method.
     *
     * @param problem receives the name of an option, or "type" for the method as a whole, and what is wrong with it
     */
    static TuningMethod read(MethodConfig method, BiConsumer<String, String> problem) {
        MethodOptions options = new MethodOptions(method.options(), problem);
        options.refuseUnknown(method.type());
        return switch (method.type()) {
            case FULL -> new TuningMethod.Full();
            case FREEZE -> options.freeze();
            case LORA -> options.lora();
            case QLORA -> options.lora().over(options.quantization());
            case P_TUNING_V2 -> new TuningMethod.PTuningV2(
                    options.integer("prefix_length", DEFAULT_PREFIX, 1, 1 << 16), options.flag("projection", false));
            case P_TUNING -> new TuningMethod.PTuning(
                    options.integer("virtual_tokens", DEFAULT_VIRTUAL_TOKENS, 1, 1 << 16));
        };
    }

    private TuningMethod freeze() {
        List<String> patterns = texts("train", List.of());
        int lastLayers = integer("last_layers", 0, 1, 1 << 16);
        if (!options.containsKey("train") && !options.containsKey("last_layers")) {
            problem.accept(
                    "type",
                    "method 'freeze' needs train, a list of name patterns, or last_layers, to know what is trained");
        }
        return new TuningMethod.Freeze(patterns, lastLayers);
    }

    private TuningMethod.Lora lora() {
        refuseTrainedBiases();
        int rank = integer("rank", DEFAULT_RANK, 1, 1 << 14);
        return new TuningMethod.Lora(
                rank,
                number("alpha", 2.0 * rank, Double.MIN_VALUE, Double.MAX_VALUE),
                number("dropout", 0, 0, Math.nextDown(1.0)),
                texts("targets", List.of("attention")));
    }

    /** Job files written after peft's settings name what peft trains besides; none of it is done here. */
    private void refuseTrainedBiases() {
        Object bias = options.get("bias");
        if (bias != null && !bias.equals("none")) {
            problem.accept(
                    "bias",
                    "method.bias: only none is supported (the model's biases stay as they are), not " + shown(bias));
        }
    }

    private TuningMethod.Quantization quantization() {
        Object kind = options.getOrDefault("quantization", "nf4");
        boolean twice = flag("double_quantization", true);
        if (kind.equals("nf4")) {
            return twice ? TuningMethod.Quantization.NF4_DOUBLE : TuningMethod.Quantization.NF4;
        }
        if (!kind.equals("none")) {
            problem.accept("quantization", "method.quantization must be nf4 or none, not " + shown(kind));
        }
        return TuningMethod.Quantization.NONE;
    }

    private void refuseUnknown(MethodConfig.Type type) {
        Set<String> known = NAMES.get(type);
        Set<String> candidates = new TreeSet<>(known);
        candidates.add("type");
        String method = "method '" + type.name().toLowerCase(Locale.ROOT) + "'";
        for (String name : options.keySet()) {
            if (!known.contains(name)) {
                problem.accept(
                        name,
                        "unknown key 'method." + name + "'"
                                + Nearest.of(name, candidates)
                                        .map(near -> " - did you mean 'method." + near + "'?")
                                        .orElse("")
                                + (known.isEmpty()
                                        ? " (" + method + " has no options)"
                                        : " (" + method + " has " + String.join(", ", new TreeSet<>(known)) + ")"));
            }
        }
    }

    private int integer(String name, int otherwise, int least, int most) {
        Object value = options.get(name);
        if (value == null) {
            return otherwise;
        }
        if (value instanceof Long number && number >= least && number <= most) {
            return number.intValue();
        }
        problem.accept(
                name, "method." + name + " must be an integer from " + least + " to " + most + ", not " + shown(value));
        return otherwise;
    }

    private double number(String name, double otherwise, double least, double most) {
        Object value = options.get(name);
        if (value == null) {
            return otherwise;
        }
        if (value instanceof Number number && number.doubleValue() >= least && number.doubleValue() <= most) {
            return number.doubleValue();
        }
        problem.accept(
                name,
                "method." + name + " must be a number " + (most < 1 ? "from 0 to below 1" : "above 0") + ", not "
                        + shown(value));
        return otherwise;
    }

    private boolean flag(String name, boolean otherwise) {
        Object value = options.get(name);
        if (value == null || value instanceof Boolean) {
            return value == null ? otherwise : (Boolean) value;
        }
        problem.accept(name, "method." + name + " must be true or false, not " + shown(value));
        return otherwise;
    }

    /** One text, or a list of them. */
    private List<String> texts(String name, List<String> otherwise) {
        Object value = options.get(name);
        if (value == null) {
            return otherwise;
        }
        List<?> values = value instanceof List<?> list ? list : List.of(value);
        List<String> texts = new ArrayList<>();
        for (Object item : values) {
            if (item instanceof String text && !text.isBlank()) {
                texts.add(text);
            }
        }
        if (texts.isEmpty() || texts.size() != values.size()) {
            problem.accept(name, "method." + name + " must be a list of texts, not " + shown(value));
            return otherwise;
        }
        return texts;
    }

    private static String shown(Object value) {
        return FreeValues.render(value);
    }
}
