package org.shardloom.worker.tuning;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.weights.SafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/**
 * Adapters and prefixes on disk. Low-rank adapters and virtual tokens are as peft writes them, {@code adapter_config.json} and {@code
 * adapter_model.safetensors}; how the base was quantised, which peft does not say, is in {@code quantization.json}; a prefix is {@code prefix_encoder.safetensors} under the original code's names, with {@code pre_seq_len} and
 * {@code prefix_projection} in {@code prefix_config.json}, as that code has them in its configuration.
 */
public final class AdapterFiles {
    public static final String LORA_CONFIG = "adapter_config.json";
    public static final String PREFIX_CONFIG = "prefix_config.json";
    private static final String LORA_WEIGHTS = "adapter_model.safetensors";
    private static final String PREFIX_WEIGHTS = "prefix_encoder.safetensors";
    private static final String QUANTIZATION = "quantization.json";
    private static final String PROMPT_TUNING = "PROMPT_TUNING";
    private static final String BASE = "base_model_name_or_path";
    private static final int PIECE = 1 << 18;
    private static final ObjectMapper JSON = new ObjectMapper();

    private AdapterFiles() {}

    /** What a directory holds. */
    public record Description(TuningMethod method, Path base) {}

    /** Whether the directory holds an adapter or a prefix. */
    public static boolean isAdapter(Path directory) {
        return Files.exists(directory.resolve(LORA_CONFIG)) || Files.exists(directory.resolve(PREFIX_CONFIG));
    }

    /**
     * Writes what was trained into the directory, which exists.
     *
     * @param base directory of the model that it was trained on
     * @param trained its tensors, fp32
     */
    public static void write(Path directory, TuningMethod method, Path base, TensorSource trained) throws IOException {
        ObjectNode config = JSON.createObjectNode();
        String weights = PREFIX_WEIGHTS;
        String name = PREFIX_CONFIG;
        if (method instanceof TuningMethod.Lora lora) {
            describe(config, lora, trained);
            weights = LORA_WEIGHTS;
            name = LORA_CONFIG;
            if (lora.base() != Quantization.NONE) {
                ObjectNode quantization = JSON.createObjectNode().put("quantization", "nf4");
                quantization.put("double_quantization", lora.base() == Quantization.NF4_DOUBLE);
                Files.write(directory.resolve(QUANTIZATION), JSON.writeValueAsBytes(quantization));
            }
        } else if (method instanceof TuningMethod.PTuning prompt) {
            config.put("peft_type", PROMPT_TUNING);
            config.put("task_type", "CAUSAL_LM");
            config.put("num_virtual_tokens", prompt.tokens());
            config.put("token_dim", trained.info("prompt_embeddings").shape().get(1));
            config.put("num_transformer_submodules", 1);
            config.put("prompt_tuning_init", "RANDOM");
            config.put("inference_mode", true);
            weights = LORA_WEIGHTS;
            name = LORA_CONFIG;
        } else if (method instanceof TuningMethod.PTuningV2 prefix) {
            config.put("method", "p_tuning_v2");
            config.put("pre_seq_len", prefix.prefixLength());
            config.put("prefix_projection", prefix.projection());
        } else {
            throw new IllegalArgumentException(method + " adds nothing to a model");
        }
        config.put(BASE, base.toString());
        writeTensors(directory.resolve(weights), trained);
        Files.write(
                directory.resolve(name), JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(config));
    }

    /** The keys that peft's LoraConfig needs; the others have its defaults. */
    private static void describe(ObjectNode config, TuningMethod.Lora lora, TensorSource trained) {
        Set<String> modules = new TreeSet<>();
        for (String tensor : trained.tensors().keySet()) {
            String module = tensor.substring(0, tensor.lastIndexOf(".lora_"));
            modules.add(module.substring(module.lastIndexOf('.') + 1));
        }
        config.put("peft_type", "LORA");
        config.put("task_type", "CAUSAL_LM");
        config.put("r", lora.rank());
        if (lora.alpha() == Math.rint(lora.alpha())) {
            config.put("lora_alpha", (long) lora.alpha());
        } else {
            config.put("lora_alpha", lora.alpha());
        }
        config.put("lora_dropout", lora.dropout());
        config.put("bias", "none");
        config.put("fan_in_fan_out", false);
        config.put("inference_mode", true);
        modules.forEach(config.putArray("target_modules")::add);
    }

    private static void writeTensors(Path file, TensorSource trained) throws IOException {
        List<TensorInfo> tensors = new ArrayList<>();
        trained.tensors().values().forEach(t -> tensors.add(new TensorInfo(t.name(), WeightDtype.F32, t.shape())));
        try (SafetensorsWriter writer = SafetensorsWriter.create(file, tensors, Map.of("format", "pt"))) {
            for (TensorInfo tensor : tensors) {
                long count = tensor.elementCount();
                for (long from = 0; from < count; from += PIECE) {
                    ByteBuffer bytes = ByteBuffer.allocate((int) Math.min(PIECE, count - from) * 4)
                            .order(ByteOrder.LITTLE_ENDIAN);
                    FloatBuffer floats = bytes.asFloatBuffer();
                    trained.read(tensor.name(), from, floats);
                    writer.append(tensor.name(), bytes);
                }
            }
            writer.finish();
        }
    }

    /**
     * Compares an adapter that a job starts from with the job's method.
     *
     * @throws TuningException when it was made for another method, rank, scale, length or projection
     */
    public static void requireLike(Path directory, TuningMethod wanted) throws IOException {
        if (!isAdapter(directory)) {
            throw new TuningException(
                    "model.adapter: neither " + LORA_CONFIG + " nor " + PREFIX_CONFIG + " in " + directory);
        }
        TuningMethod found = read(directory).method();
        String problem = null;
        if (found instanceof TuningMethod.Lora was && wanted instanceof TuningMethod.Lora is) {
            if (was.rank() != is.rank() || was.alpha() != is.alpha()) {
                problem = "rank " + was.rank() + " and alpha " + was.alpha() + ", the job has rank " + is.rank()
                        + " and alpha " + is.alpha() + "; set method.rank and method.alpha to the adapter's";
            } else if (was.base() != Quantization.NONE && was.base() != is.base()) {
                problem = "its base in " + was.base() + ", the job has " + is.base()
                        + "; set method.type: qlora and method.double_quantization to the adapter's";
            }
        } else if (found instanceof TuningMethod.PTuning was && wanted instanceof TuningMethod.PTuning is) {
            if (was.tokens() != is.tokens()) {
                problem = was.tokens() + " virtual tokens, the job has " + is.tokens()
                        + "; set method.virtual_tokens to the adapter's";
            }
        } else if (found instanceof TuningMethod.PTuningV2 && wanted instanceof TuningMethod.PTuningV2) {
            if (!found.equals(wanted)) {
                problem = found + ", the job has " + wanted
                        + "; set method.prefix_length and method.projection to the prefix's";
            }
        } else {
            problem = "another method: " + found + ", the job has " + wanted;
        }
        if (problem != null) {
            throw new TuningException("model.adapter: " + directory + " was trained with " + problem);
        }
    }

    /**
     * What the directory's configuration says.
     *
     * @throws TuningException when it asks for something that would change what the adapter computes and is not known here
     */
    public static Description read(Path directory) throws IOException {
        boolean lora = Files.exists(directory.resolve(LORA_CONFIG));
        Path file = directory.resolve(lora ? LORA_CONFIG : PREFIX_CONFIG);
        JsonNode config;
        try {
            config = JSON.readTree(Files.readAllBytes(file));
        } catch (com.fasterxml.jackson.core.JsonProcessingException e) {
            throw new TuningException(file + " is not JSON: " + e.getOriginalMessage());
        }
        String base = config.path(BASE).asText("");
        TuningMethod method = lora ? readPeft(file, config) : readPrefix(file, config);
        return new Description(method, base.isEmpty() ? null : Path.of(base));
    }

    private static TuningMethod readPrefix(Path file, JsonNode config) {
        int length = config.path("pre_seq_len").asInt();
        if (length < 1) {
            throw new TuningException(file + ": pre_seq_len is missing or not positive");
        }
        return new TuningMethod.PTuningV2(
                length, config.path("prefix_projection").asBoolean());
    }

    private static TuningMethod readPeft(Path file, JsonNode config) throws IOException {
        if (config.path("peft_type").asText().equals(PROMPT_TUNING)) {
            int tokens = config.path("num_virtual_tokens").asInt();
            if (tokens < 1) {
                throw new TuningException(file + ": num_virtual_tokens is missing or not positive");
            }
            return new TuningMethod.PTuning(tokens);
        }
        return readLora(file, config).over(readQuantization(file.resolveSibling(QUANTIZATION)));
    }

    private static Quantization readQuantization(Path file) throws IOException {
        if (!Files.exists(file)) {
            return Quantization.NONE;
        }
        JsonNode found = JSON.readTree(Files.readAllBytes(file));
        if (!found.path("quantization").asText().equals("nf4")) {
            throw new TuningException(file + ": quantization is " + found.path("quantization") + ", only nf4 is known");
        }
        return found.path("double_quantization").asBoolean() ? Quantization.NF4_DOUBLE : Quantization.NF4;
    }

    /** peft takes {@code self_attention.query_key_value} for what a module's name ends with; here the last part says it. */
    private static String lastName(String module) {
        return module.substring(module.lastIndexOf('.') + 1);
    }

    private static TuningMethod.Lora readLora(Path file, JsonNode config) {
        if (!config.path("peft_type").asText().equals("LORA")) {
            throw new TuningException(file + ": peft_type is '"
                    + config.path("peft_type").asText() + "', only LORA and PROMPT_TUNING are known");
        }
        for (String refused : List.of("use_dora", "use_rslora", "fan_in_fan_out", "lora_bias")) {
            if (config.path(refused).asBoolean()) {
                throw new TuningException(file + ": " + refused + " is true, which is not known here");
            }
        }
        for (String refused : List.of("rank_pattern", "alpha_pattern")) {
            if (config.path(refused).size() > 0) {
                throw new TuningException(file + ": " + refused + " is not empty, which is not known here");
            }
        }
        for (String refused : List.of("layers_to_transform", "modules_to_save")) {
            if (!config.path(refused).isMissingNode() && !config.path(refused).isNull()) {
                throw new TuningException(file + ": " + refused + " is set, which is not known here");
            }
        }
        String init = config.path("init_lora_weights").asText("true");
        if (init.matches("(?i)(pissa|olora|corda|loftq|eva).*")) {
            throw new TuningException(
                    file + ": init_lora_weights is " + init
                            + ", which changes the base model's weights, too; convert the adapter to an ordinary one with peft first");
        }
        JsonNode modules = config.path("target_modules");
        List<String> targets = new ArrayList<>();
        if (modules.isTextual()) {
            String text = modules.asText();
            if (!text.matches("[\\w.-]+")) {
                throw new TuningException(file + ": target_modules is the pattern '" + text
                        + "', which is not known here; list the modules' names");
            }
            targets.add(text.equals("all-linear") ? "all" : lastName(text));
        }
        modules.forEach(m -> targets.add(lastName(m.asText())));
        int rank = config.path("r").asInt();
        if (rank < 1 || targets.isEmpty()) {
            throw new TuningException(file + ": r or target_modules is missing");
        }
        return new TuningMethod.Lora(
                rank,
                config.path("lora_alpha").asDouble(rank),
                config.path("lora_dropout").asDouble(),
                targets);
    }
}
