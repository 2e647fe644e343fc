package org.shardloom.deploy.convert;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What other tools do where nothing is said: a setting that is absent there must not become this program's default unsaid. From the argument
 * parsers of liucongg/ChatGLM-Finetuning (train.py), of Hugging Face's Trainer (TrainingArguments) and of THUDM's ptuning (arguments.py),
 * LLaMA-Factory's FinetuningArguments, peft's LoraConfig and XTuner's use of it.
 */
final class SourceDefaults {
    private static final Set<String> SCRIPT = Set.of("train_path", "ds_file", "mode", "lora_dim", "lora_module_name");
    private static final Set<String> PUBLISHED = Set.of("prompt_column", "response_column", "history_column");
    private static final Set<String> TRAINER = Set.of("do_train", "training_args", "peft_config");
    private static final Set<String> FACTORY = Set.of(
            "finetuning_type",
            "lora_rank",
            "lora_target",
            "dataset_dir",
            "freeze_trainable_layers",
            "num_layer_trainable",
            "cutoff_len");
    /** alpaca-lora's script, which has a cutoff_len, too. */
    private static final String NO_FACTORY = "lora_r";

    private static final Set<String> XTUNER =
            Set.of("accumulative_counts", "pack_to_max_length", "pretrained_model_name_or_path");
    private static final Set<String> PEFT = Set.of("peft_config", "peft_type", "r");

    private SourceDefaults() {}

    /**
     * The defaults, under the tool's own names.
     *
     * @param names all that were said, with and without the names of their sections
     * @param adaptation the kind of training that was asked for; empty where nothing was said
     * @param rank of LoRA; 0 where nothing was said
     */
    static Map<String, Object> of(Set<String> names, String adaptation, long rank) {
        Map<String, Object> defaults = new LinkedHashMap<>();
        if (names.stream().anyMatch(SCRIPT::contains)) {
            defaults.put("per_device_train_batch_size", 16);
            defaults.put("learning_rate", 1e-3);
            defaults.put("weight_decay", 0.1);
            defaults.put("num_train_epochs", 1);
            defaults.put("warmup_ratio", 0.1);
            defaults.put("max_len", 1024);
            defaults.put("max_src_len", 256);
            if (adaptation.isEmpty()) {
                defaults.put("train_type", "lora");
            }
            if (adaptation.isEmpty() || adaptation.equals("lora")) {
                defaults.put("lora_dim", 8);
                defaults.put("lora_alpha", 30);
                defaults.put("lora_dropout", 0.1);
                defaults.put("lora_module_name", "query_key_value");
            } else if (adaptation.equals("freeze")) {
                defaults.put("freeze_module_name", "layers.27.");
            } else if (adaptation.equals("ptuning")) {
                defaults.put("pre_seq_len", 16);
                defaults.put("prefix_projection", true);
            }
            return defaults;
        }
        boolean factory = names.stream().anyMatch(FACTORY::contains) && !names.contains(NO_FACTORY);
        if (factory || names.stream().anyMatch(n -> TRAINER.contains(n) || PUBLISHED.contains(n))) {
            defaults.put("per_device_train_batch_size", 8);
            defaults.put("learning_rate", 5e-5);
            defaults.put("weight_decay", 0);
            defaults.put("num_train_epochs", 3);
            defaults.put("lr_scheduler_type", "linear");
            defaults.put("max_grad_norm", 1.0);
            defaults.put("betas", List.of(0.9, 0.999));
            defaults.put("seed", 42);
            if (names.stream().anyMatch(PUBLISHED::contains)) {
                defaults.put("max_source_length", 1024);
                defaults.put("max_target_length", 128);
            }
        }
        if (factory) {
            addFactory(adaptation, rank, defaults);
        } else if (adaptation.equals("lora") && names.stream().anyMatch(n -> PEFT.contains(n) || XTUNER.contains(n))) {
            defaults.put("r", 8);
            defaults.put("lora_alpha", 8);
            defaults.put("lora_dropout", 0);
            // peft's own choice for the ChatGLM family; XTuner looks for all.
            defaults.put("target_modules", names.stream().anyMatch(XTUNER::contains) ? "all" : "query_key_value");
        }
        return defaults;
    }

    private static void addFactory(String adaptation, long rank, Map<String, Object> defaults) {
        if (adaptation.isEmpty()) {
            defaults.put("finetuning_type", "lora");
        }
        if (adaptation.isEmpty() || adaptation.equals("lora")) {
            defaults.put("lora_rank", 8);
            defaults.put("lora_alpha", 2 * (rank > 0 ? rank : 8));
            defaults.put("lora_dropout", 0);
            defaults.put("lora_target", "all");
        } else if (adaptation.equals("freeze")) {
            defaults.put("freeze_trainable_layers", 2);
        }
    }
}
