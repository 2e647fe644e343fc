package org.shardloom.deploy.convert;

import static org.shardloom.deploy.convert.Values.isTrue;
import static org.shardloom.deploy.convert.Values.listed;
import static org.shardloom.deploy.convert.Values.number;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/** Finds which tuning method the settings of other tools mean, and its options. */
final class MethodImport {
    /** What peft calls trained tokens at the input only, with an encoder and without. */
    private static final Set<String> AT_INPUT = Set.of("p_tuning", "prompt_tuning");

    private static final List<String> LORA_OPTIONS = List.of("rank", "alpha", "dropout", "targets");

    private final JobDraft draft;
    private String adaptation = "";
    private Object virtualTokens;
    /** Options of peft's encoders of virtual tokens and prefixes. */
    private final Map<String, Object> encoder = new LinkedHashMap<>();

    private long bits;

    MethodImport(JobDraft draft, KnownNames names) {
        this.draft = draft;
        register(names);
    }

    private void register(KnownNames names) {
        names.on(
                (n, v) -> adaptation = String.valueOf(v).toLowerCase(Locale.ROOT),
                "train_type",
                "peft_type",
                "peft_config.peft_type");
        names.on( // in ChatGLM-Efficient-Tuning p_tuning has a pre_seq_len: it is not peft's
                (n, v) -> {
                    String kind = String.valueOf(v).toLowerCase(Locale.ROOT);
                    adaptation = kind.equals("p_tuning") ? "ptuning" : kind;
                },
                "finetuning_type");
        names.to("method.rank", "lora_dim", "lora_rank", "lora_r", "r");
        names.to("method.alpha", "lora_alpha");
        names.to("method.dropout", "lora_dropout");
        names.on(
                (n, v) -> draft.setList("method.targets", List.of(listed(v.equals("all-linear") ? "all" : v))),
                "lora_module_name",
                "lora_target",
                "lora_target_modules",
                "target_modules");
        names.mean("method.targets", "lora_module_name", "lora_target", "target_modules");
        names.on((n, v) -> draft.setList("method.train", List.of(listed(v))), "freeze_module_name");
        names.on((n, v) -> draft.set("method.last_layers", v), "num_layer_trainable", "freeze_trainable_layers");
        names.on(
                (n, v) -> {
                    if (adaptation.isEmpty()) {
                        adaptation = "ptuning";
                    }
                    draft.set("method.prefix_length", v);
                },
                "pre_seq_len");
        names.on((n, v) -> virtualTokens = v, "num_virtual_tokens");
        names.on((n, v) -> draft.set("method.projection", isTrue(v)), "prefix_projection");
        names.on(
                encoder::put,
                "encoder_reparameterization_type",
                "encoder_hidden_size",
                "encoder_num_layers",
                "encoder_dropout");
        names.on(
                (n, v) -> {
                    if (!v.equals("RANDOM")) {
                        draft.leave(n, v, "virtual tokens begin as random numbers here");
                    }
                },
                "prompt_tuning_init");
        names.left("see prompt_tuning_init", "prompt_tuning_init_text");
        names.on((n, v) -> bits = number(v), "quantization_bit");
        names.on((n, v) -> draft.set("method.double_quantization", isTrue(v)), "double_quantization");
        names.left(
                "start from it with model.adapter: the directory of a LoRA adapter as peft writes it",
                "adapter_name_or_path");
        names.left(
                "the original scripts' prefixes (pytorch_model.bin) are not read; to start from one with model.adapter, make a"
                        + " directory of its tensors transformer.prefix_encoder.* in prefix_encoder.safetensors and a"
                        + " prefix_config.json with pre_seq_len and prefix_projection",
                "ptuning_checkpoint");
        names.on(
                (n, v) -> {
                    if (!v.equals("sft")) {
                        draft.leave(n, v, "supervised fine-tuning is all that is done here");
                    }
                },
                "stage");
        names.left("causal language models are all that is trained here", "task_type");
    }

    /** The kind of training as the settings, or what was inferred of them, call it; empty where nothing says. */
    String kind() {
        return adaptation;
    }

    /** When all settings are known: what they mean together. */
    void infer() {
        finishVirtualTokens();
        inferLora();
    }

    /** Who gives options of LoRA and no kind of training means LoRA. */
    private void inferLora() {
        List<String> options = LORA_OPTIONS.stream()
                .map(o -> "method." + o)
                .filter(k -> draft.get(k) != null)
                .toList();
        if (adaptation.isEmpty() && !options.isEmpty()) {
            adaptation = "lora";
            draft.decide("method.type", "lora", "the settings name no kind of training, but have " + options);
        }
    }

    /** peft's number of virtual tokens is the length of a prefix, too: its kind of training decides. */
    private void finishVirtualTokens() {
        boolean input = AT_INPUT.contains(adaptation);
        if (virtualTokens != null) {
            draft.set(input ? "method.virtual_tokens" : "method.prefix_length", virtualTokens);
            if (adaptation.isEmpty()) {
                adaptation = "prefix_tuning";
                draft.decide(
                        "method.type",
                        "p_tuning_v2",
                        "the settings name no peft_type, but have num_virtual_tokens; p_tuning if they are tokens at the"
                                + " input only");
            }
        }
        if (adaptation.equals("p_tuning") && encoder.isEmpty()) {
            encoder.put("encoder_reparameterization_type", "MLP");
        }
        String why = input
                ? "virtual tokens are trained themselves here, not through an encoder: mind the learning rate"
                : "the maps of method.projection are as wide as the model";
        encoder.forEach((name, value) -> draft.leave(name, value, why));
    }

    /** Sets the method, and leaves out what it does not have. */
    void finish() {
        String type =
                switch (adaptation) {
                    case "lora" -> bits == 4 ? "qlora" : "lora";
                    case "freeze" -> "freeze";
                    case "p_tuning", "prompt_tuning" -> "p_tuning";
                    case "ptuning", "prefix_tuning", "p_tuning_v2" -> "p_tuning_v2";
                    case "", "all", "full" -> "full";
                    default -> "";
                };
        if (type.isEmpty()) {
            draft.leave("method", adaptation, "choose method.type yourself; see deploy/docs/methods.md");
            type = "full";
        }
        if (bits > 0 && !type.equals("qlora")) {
            draft.leave("quantization_bit", bits, "quantised weights go with method.type qlora, 4 bits");
        }
        Set<String> kept =
                switch (type) {
                    case "lora" -> Set.copyOf(LORA_OPTIONS);
                    case "qlora" -> Set.of("rank", "alpha", "dropout", "targets", "double_quantization");
                    case "freeze" -> Set.of("train", "last_layers");
                    case "p_tuning" -> Set.of("virtual_tokens");
                    case "p_tuning_v2" -> Set.of("prefix_length", "projection");
                    default -> Set.of();
                };
        for (String option : List.of(
                "rank",
                "alpha",
                "dropout",
                "targets",
                "double_quantization",
                "train",
                "last_layers",
                "virtual_tokens",
                "prefix_length",
                "projection")) {
            if (!kept.contains(option)) {
                draft.leaveOut("method." + option, "method.type " + type + " has no such option");
            }
        }
        draft.set("method.type", type);
        if (type.endsWith("lora")) {
            leaveToDefault("rank", "8");
            leaveToDefault("alpha", "twice the rank");
            leaveToDefault("targets", "the attention's modules");
        } else if (type.equals("p_tuning")) {
            leaveToDefault("virtual_tokens", "20");
        }
    }

    private void leaveToDefault(String option, String what) {
        if (draft.get("method." + option) == null) {
            draft.leave(
                    "method." + option, "not said", "the tool's default is not known here; this program's is " + what);
        }
    }
}
