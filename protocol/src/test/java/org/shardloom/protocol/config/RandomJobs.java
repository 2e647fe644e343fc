package org.shardloom.protocol.config;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Function;

/** Draws valid jobs; every key is set about half of the time, those that have no rule here by its type's examples. */
final class RandomJobs {
    private static final String[] NAMES = {
        "plain",
        "with space",
        "quote\\\"d",
        "back\\\\slash",
        "colon: here",
        "#hash",
        "\\u6a21\\u578b",
        "\\u0085\\u2028",
        "\\U0001F600",
        "null",
        "1e4",
        "tab\\t",
        "- x",
        "'"
    };
    private static final Map<String, Function<Random, String>> RULES = new HashMap<>();

    static {
        RULES.put("train.epochs", random -> "");
        RULES.put("train.micro_batch_size", random -> "" + (1 << random.nextInt(4)));
        RULES.put("train.global_batch_size", random -> "" + 8 * (1 + random.nextInt(50)));
        RULES.put("train.schedule.warmup_steps", random -> "");
        RULES.put("model.adapter", random -> "");
        RULES.put("method.type", random -> "full");
        RULES.put("method.*", random -> "");
        RULES.put("data.max_length", random -> "" + (1000 + random.nextInt(5000)));
        RULES.put("data.max_source_length", random -> "" + (1 + random.nextInt(999)));
        RULES.put("zero.offload_params", random -> "false");
        RULES.put("checkpoint.keep_best", random -> "0");
        RULES.put("evaluation.patience", random -> "0");
        RULES.put("data.weights", random -> "[]");
        RULES.put("evaluation.every_steps", random -> "0");
        RULES.put("cluster.min_workers", random -> "1");
        RULES.put("cluster.heartbeat_seconds", random -> "" + (0.01 + random.nextDouble()));
        RULES.put("cluster.lost_after_seconds", random -> "" + (3 + random.nextInt(100)));
        RULES.put("zero.stage", random -> "" + (2 + random.nextInt(2)));
    }

    private RandomJobs() {}

    static JobConfig next(Random random) {
        List<String> settings = new ArrayList<>();
        for (Key<?> key : JobKeys.ALL) {
            if (key.required() || random.nextBoolean()) {
                Function<Random, String> rule = RULES.get(key.path());
                String value = rule != null ? rule.apply(random) : example(key.type(), random);
                if (!value.isEmpty()) {
                    settings.add(key.path() + "=" + value);
                }
            }
        }
        if (random.nextBoolean()) {
            settings.add("train.max_steps=" + (1 + random.nextInt(1000)));
        }
        return Jobs.parse("", settings.toArray(String[]::new));
    }

    private static String example(ValueType<?> type, Random random) {
        String expected = type.expected();
        if (expected.startsWith("one of ")) {
            String[] names = expected.substring("one of ".length()).split(", ");
            return names[random.nextInt(names.length)];
        }
        return switch (expected) {
            case "a positive integer", "an integer of 0 or more", "a port from 0 to 65535" -> ""
                    + (1 + random.nextInt(65535));
            case "an integer" -> "" + random.nextLong();
            case "a number above 0", "a number of 0 or more" -> "" + Math.exp(20 * random.nextGaussian());
            case "a number of at least 1e-30" -> "" + Math.max(1e-30, Math.exp(20 * random.nextGaussian()));
            case "a number from 0 to 1" -> "" + random.nextDouble();
            case "two numbers in [0, 1)" -> "[" + random.nextDouble() + ", " + random.nextFloat() + "]";
            case "true or false" -> "" + random.nextBoolean();
            case "text", "a file", "a directory" -> name(random);
            case "a list of texts", "a file or a list of files" -> "[" + name(random) + ", " + name(random) + "]";
            case "a list of loss, rouge, bleu, exact_match, f1" -> "[rouge, loss]";
            case "a number above 1" -> "" + (1.5 + 100 * random.nextDouble());
            case "adamw" -> "adamw";
            default -> throw new AssertionError("No example for " + expected);
        };
    }

    private static String name(Random random) {
        return '"' + NAMES[random.nextInt(NAMES.length)] + NAMES[random.nextInt(NAMES.length)] + '"';
    }
}
