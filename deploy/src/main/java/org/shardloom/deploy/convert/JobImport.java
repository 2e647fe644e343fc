package org.shardloom.deploy.convert;

import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;

/**
 * Turns settings of DeepSpeed, of the common ChatGLM scripts, and of LLaMA-Factory's, XTuner's and ChatGLM3's configurations into a job file.
 * Names that several of these tools share mean the same in all of them.
 */
public final class JobImport {
    /** Sections whose settings mean what they mean outside. */
    private static final Set<String> PARENTS = Set.of(
            "",
            "data_config",
            "training_args",
            "peft_config",
            "lora",
            "model.lora",
            "model",
            "method",
            "dataset",
            "train",
            "output");

    /** What peft calls trained tokens at the input only, with an encoder and without. */
    private static final Set<String> AT_INPUT = Set.of("p_tuning", "prompt_tuning");

    private static final List<String> LORA_OPTIONS = List.of("rank", "alpha", "dropout", "targets");

    private final JobDraft draft = new JobDraft();
    private final Map<String, BiConsumer<String, Object>> known = new LinkedHashMap<>();
    private final Map<String, String> keys = new HashMap<>();
    private long perDevice;
    private long accumulation;
    private long batch;
    private long gpus;
    private String adaptation = "";
    private Object virtualTokens;
    /** Options of peft's encoders of virtual tokens and prefixes. */
    private final Map<String, Object> encoder = new LinkedHashMap<>();

    private long bits;
    private long inputLength;
    private long outputLength;
    private boolean neverEvaluates;
    private final Set<String> said = new HashSet<>();

    /**
     * Begins.
     *
     * @param gpus number of workers; 0 for what the settings say
     */
    public JobImport(long gpus) {
        this.gpus = gpus;
        model();
        data();
        training();
        method();
        deepSpeed();
    }

    private void to(String key, String... names) {
        for (String name : names) {
            known.put(name, (n, v) -> draft.set(key, v));
            keys.put(name, key);
        }
    }

    private void on(BiConsumer<String, Object> handler, String... names) {
        for (String name : names) {
            known.put(name, handler);
        }
    }

    private void left(String why, String... names) {
        on((n, v) -> draft.leave(n, v, why), names);
    }

    private void model() {
        to("model.path", "model_name_or_path", "pretrained_model_name_or_path", "model_dir", "model_path");
        to("output_dir", "output_dir", "work_dir");
        to("train.seed", "seed");
        on((n, v) -> gpus = gpus > 0 ? gpus : number(v), "gpus", "num_gpus", "nproc_per_node", "nproc-per-node");
        on(
                (n, v) -> {
                    String family = String.valueOf(v);
                    if (family.matches("glm[23]?")) {
                        draft.set("data.template", "chat" + family);
                    } else {
                        draft.leave(n, v, "set data.template yourself");
                    }
                },
                "mode");
        on(this::template, "template", "prompt_template");
    }

    private void template(String name, Object value) {
        String family = String.valueOf(value).toLowerCase(Locale.ROOT);
        if (Set.of("chatglm2", "chatglm3", "chatglm").contains(family)) {
            draft.set("data.template", family);
        } else {
            draft.leave(name, value, "set data.template if the model's own (auto) is not meant");
        }
    }

    private void data() {
        to("data.train", "train_path", "train_file", "train_data", "data_path");
        to("data.eval", "val_file", "validation_file", "eval_path", "test_path");
        to("data.max_length", "max_len", "cutoff_len", "max_length");
        to("data.max_source_length", "max_src_len");
        on((n, v) -> inputLength = number(v), "max_input_length", "max_source_length");
        on((n, v) -> outputLength = number(v), "max_output_length", "max_target_length");
        on((n, v) -> draft.set("data.truncate", !isTrue(v)), "is_skip");
        left("name the files in data.train, JSON lines", "dataset", "dataset_dir", "alpaca_en_path");
        left("rename the columns: instruction and output in data.format alpaca", "prompt_column", "response_column");
        left("conversations are in data.format sharegpt or chatglm3", "history_column");
        left("put held-out samples into a file and name it in data.eval", "val_size");
        left("cut the file", "max_samples", "max_train_samples");
        left(
                "batches are packed without padding always",
                "pack_to_max_length",
                "packing",
                "group_by_length",
                "preprocessing_num_workers",
                "num_proc",
                "overwrite_cache",
                "dataloader_num_workers");
    }

    private void training() {
        on(
                (n, v) -> perDevice = number(v),
                "per_device_train_batch_size",
                "train_micro_batch_size_per_gpu",
                "batch_size");
        on((n, v) -> accumulation = number(v), "gradient_accumulation_steps", "accumulative_counts");
        on((n, v) -> batch = number(v), "train_batch_size");
        to("train.learning_rate", "learning_rate", "lr", "optimizer.params.lr");
        to("train.optimizer.weight_decay", "weight_decay", "optimizer.params.weight_decay");
        to("train.optimizer.betas", "optimizer.params.betas", "betas");
        to("train.optimizer.eps", "optimizer.params.eps", "adam_epsilon");
        on(
                (n, v) -> {
                    double epochs = real(v);
                    draft.set("train.epochs", (long) Math.max(1, Math.ceil(epochs)));
                    if (epochs != Math.rint(epochs)) {
                        draft.leave(n, v, "epochs are whole: rounded up");
                    }
                },
                "num_train_epochs",
                "max_epochs",
                "epochs");
        on(
                (n, v) -> {
                    if (number(v) > 0) {
                        draft.set("train.max_steps", v);
                    }
                },
                "max_steps");
        to("train.max_grad_norm", "max_grad_norm", "max_norm", "gradient_clipping");
        to("train.schedule.warmup_ratio", "warmup_ratio");
        on(
                (n, v) -> {
                    if (number(v) > 0) {
                        draft.set("train.schedule.warmup_steps", v);
                    }
                },
                "warmup_steps",
                "scheduler.params.warmup_num_steps");
        on(this::schedule, "lr_scheduler_type");
        on((n, v) -> draft.set("gradient_checkpointing", isTrue(v)), "gradient_checkpointing");
        to("checkpoint.every_steps", "save_model_step", "save_steps");
        to("checkpoint.keep_last", "save_total_limit");
        to("evaluation.every_steps", "eval_steps", "evaluation_freq");
        on(this::strategy, "save_strategy", "eval_strategy", "evaluation_strategy", "logging_strategy");
        on((n, v) -> precision(v, "bf16"), "bf16", "bf16.enabled");
        on((n, v) -> precision(v, "fp16"), "fp16", "fp16.enabled");
        left("every step is in metrics.jsonl", "show_loss_step", "logging_steps", "steps_per_print", "report_to");
        left("start with --resume DIR", "resume_from_checkpoint", "resume");
        left(
                "not needed here",
                "local_rank",
                "master_port",
                "ddp_timeout",
                "do_train",
                "overwrite_output_dir",
                "plot_loss",
                "wall_clock_breakdown",
                "gradient_accumulation_dtype",
                "per_device_eval_batch_size",
                "predict_with_generate");
        on((n, v) -> gpus = gpus > 0 ? gpus : String.valueOf(v).split(",").length, "include");
    }

    /** Epochs have no length here before the data are read. */
    private void strategy(String name, Object value) {
        if (value.equals("epoch")) {
            draft.leave(name, value, "set the number of steps of an epoch; shardloom validate shows it");
        } else if (value.equals("no") && !name.endsWith("save_strategy")) {
            neverEvaluates = true;
        }
    }

    private void schedule(String name, Object value) {
        String type = String.valueOf(value).replace("_with_warmup", "");
        if (Set.of("linear", "cosine", "constant").contains(type)) {
            draft.set("train.schedule.type", type);
        } else {
            draft.leave(name, value, "train.schedule.type is constant, linear or cosine");
        }
    }

    private void precision(Object value, String kind) {
        if (isTrue(value)) {
            draft.set("precision", kind);
        }
    }

    private void method() {
        on(
                (n, v) -> adaptation = String.valueOf(v).toLowerCase(Locale.ROOT),
                "train_type",
                "peft_type",
                "peft_config.peft_type");
        on( // in ChatGLM-Efficient-Tuning p_tuning has a pre_seq_len: it is not peft's
                (n, v) ->
                        adaptation = String.valueOf(v).toLowerCase(Locale.ROOT).replace("p_tuning", "ptuning"),
                "finetuning_type");
        to("method.rank", "lora_dim", "lora_rank", "lora_r", "r");
        to("method.alpha", "lora_alpha");
        to("method.dropout", "lora_dropout");
        on(
                (n, v) -> draft.setList("method.targets", List.of(listed(v.equals("all-linear") ? "all" : v))),
                "lora_module_name",
                "lora_target",
                "lora_target_modules",
                "target_modules");
        keys.put("lora_module_name", "method.targets");
        keys.put("lora_target", "method.targets");
        keys.put("target_modules", "method.targets");
        on((n, v) -> draft.setList("method.train", List.of(listed(v))), "freeze_module_name");
        on((n, v) -> draft.set("method.last_layers", v), "num_layer_trainable", "freeze_trainable_layers");
        on(
                (n, v) -> {
                    if (adaptation.isEmpty()) {
                        adaptation = "ptuning";
                    }
                    draft.set("method.prefix_length", v);
                },
                "pre_seq_len");
        on((n, v) -> virtualTokens = v, "num_virtual_tokens");
        on((n, v) -> draft.set("method.projection", isTrue(v)), "prefix_projection");
        on(
                encoder::put,
                "encoder_reparameterization_type",
                "encoder_hidden_size",
                "encoder_num_layers",
                "encoder_dropout");
        on(
                (n, v) -> {
                    if (!v.equals("RANDOM")) {
                        draft.leave(n, v, "virtual tokens begin as random numbers here");
                    }
                },
                "prompt_tuning_init");
        left("see prompt_tuning_init", "prompt_tuning_init_text");
        on((n, v) -> bits = number(v), "quantization_bit");
        on((n, v) -> draft.set("method.double_quantization", isTrue(v)), "double_quantization");
        left(
                "start from it with model.adapter: the directory of a LoRA adapter as peft writes it",
                "adapter_name_or_path");
        left(
                "the original scripts' prefixes (pytorch_model.bin) are not read; to start from one with model.adapter, make a"
                        + " directory of its tensors transformer.prefix_encoder.* in prefix_encoder.safetensors and a"
                        + " prefix_config.json with pre_seq_len and prefix_projection",
                "ptuning_checkpoint");
        on(
                (n, v) -> {
                    if (!v.equals("sft")) {
                        draft.leave(n, v, "supervised fine-tuning is all that is done here");
                    }
                },
                "stage");
        left("causal language models are all that is trained here", "task_type");
    }

    private void deepSpeed() {
        on(
                (n, v) -> {
                    long stage = number(v);
                    draft.set("zero.stage", Math.max(2, stage));
                    if (stage < 2) {
                        draft.leave(n, v, "stage 2 shards more and costs no more communication");
                    }
                },
                "zero_optimization.stage");
        on((n, v) -> offload(n, v, "zero.offload_params"), "zero_optimization.offload_param.device");
        on((n, v) -> offload(n, v, "zero.offload_optimizer"), "zero_optimization.offload_optimizer.device");
        left("give this file to the import, too", "ds_file", "deepspeed", "deepspeed_config");
        left("AdamW is the one optimizer here", "optimizer.type");
        left("see train.schedule", "scheduler.type");
    }

    private void offload(String name, Object device, String key) {
        draft.set(key, !device.equals("none"));
        if (device.equals("nvme")) {
            draft.leave(name, device, key + " keeps it in the host's memory; nothing is kept on disks");
        }
    }

    /** Takes the settings of one file or command line. */
    public void add(Map<String, Object> settings) {
        settings.forEach((name, value) -> {
            for (String part : name.split("\\.")) {
                said.add(part);
            }
            String leaf = name.substring(name.lastIndexOf('.') + 1);
            String parent = name.substring(0, Math.max(0, name.length() - leaf.length() - 1));
            BiConsumer<String, Object> handler = known.get(name);
            if (handler == null && PARENTS.contains(parent)) {
                handler = known.get(leaf);
            }
            boolean placed = leaf.equals("device");
            if (value.equals("auto")
                    || value.equals("none") && !placed
                    || value.equals(Boolean.FALSE) && handler == null) {
                return;
            }
            if (handler != null) {
                try {
                    handler.accept(name, value);
                } catch (IllegalArgumentException e) {
                    throw new IllegalArgumentException(name + ": " + e.getMessage(), e);
                }
            } else if (name.startsWith("zero_optimization.")
                    || name.startsWith("fp16.")
                    || name.startsWith("activation_checkpointing.")) {
                draft.leave(name, value, "tuned by the engine itself");
            } else {
                draft.leave(name, value, "not known here");
            }
        });
    }

    private void assumeDefaults() {
        boolean lengthsSaid = inputLength + outputLength > 0;
        long rank = draft.get("method.rank") == null ? 0 : number(draft.get("method.rank"));
        SourceDefaults.of(said, adaptation, rank).forEach((name, value) -> {
            boolean batchSaid = name.equals("per_device_train_batch_size") && (perDevice > 0 || batch > 0);
            boolean lengthSaid = lengthsSaid && name.matches("max_(source|target)_length");
            boolean stepsSaid = name.equals("num_train_epochs") && draft.get("train.max_steps") != null;
            boolean warmupSaid = name.equals("warmup_ratio") && draft.get("train.schedule.warmup_steps") != null;
            String key = keys.get(name);
            if (!said.contains(name)
                    && !batchSaid
                    && !lengthSaid
                    && !stepsSaid
                    && !warmupSaid
                    && (key == null || draft.get(key) == null)) {
                known.get(name).accept(name, value);
                draft.assume(name, value);
            }
        });
    }

    /** The job file. */
    public JobDraft finish() {
        finishVirtualTokens();
        inferLora();
        assumeDefaults();
        if (said.contains("zero_optimization") && draft.get("zero.offload_optimizer") == null) {
            draft.decide(
                    "zero.offload_optimizer",
                    true,
                    "the optimizer's state is kept in host memory, which spares a GPU 12 bytes a parameter; false keeps it there");
        }
        long workers = Math.max(1, gpus);
        draft.set("workers", workers);
        if (perDevice > 0) {
            draft.set("train.micro_batch_size", perDevice);
        }
        long global = batch > 0 ? batch : Math.max(1, perDevice) * Math.max(1, accumulation) * workers;
        draft.set("train.global_batch_size", global);
        if (inputLength > 0) {
            draft.set("data.max_source_length", inputLength);
            draft.set("data.max_length", inputLength + Math.max(outputLength, 1));
        }
        if (draft.get("train.max_steps") != null && draft.get("train.epochs") != null) {
            draft.leave("epochs", draft.get("train.epochs"), "train.max_steps is set, which decides");
            draft.remove("train.epochs");
        }
        if (draft.get("train.schedule.warmup_steps") != null) {
            draft.leaveOut("train.schedule.warmup_ratio", "train.schedule.warmup_steps is set, which decides");
        }
        finishMethod();
        finishOffload();
        if (draft.get("precision") == null) {
            draft.set("precision", "bf16");
            draft.decide(
                    "precision",
                    "bf16",
                    "neither bf16 nor fp16 is switched on in the settings; set fp32 or fp16 if that is what they meant");
        }
        if (said.contains("data_config")) { // ChatGLM3's own examples have conversations
            draft.set("data.format", "chatglm3");
        }
        if (neverEvaluates) {
            draft.leaveOut("evaluation.every_steps", "the settings switch evaluation off");
        }
        if (draft.get("data.eval") == null) {
            draft.leaveOut("evaluation.every_steps", "needs data.eval");
        }
        return draft;
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

    /** DeepSpeed's stages below 3 ignore the parameters' place; here that is an error. */
    private void finishOffload() {
        if (!"true".equals(draft.get("zero.offload_params"))) {
            return;
        }
        if (!"3".equals(draft.get("zero.stage"))) {
            draft.leaveOut("zero.offload_params", "needs zero.stage: 3; with stage 2 each worker keeps all parameters");
        } else if ("false".equals(draft.get("zero.offload_optimizer"))) {
            draft.leaveOut(
                    "zero.offload_params",
                    "needs zero.offload_optimizer: true, since parameters are updated where the optimizer is; set both, or"
                            + " neither");
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

    private void finishMethod() {
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

    private static long number(Object value) {
        return Math.round(real(value));
    }

    private static double real(Object value) {
        try {
            return Double.parseDouble(String.valueOf(value));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException("'" + value + "' is not a number");
        }
    }

    private static boolean isTrue(Object value) {
        return String.valueOf(value).equalsIgnoreCase("true");
    }

    private static String[] listed(Object value) {
        return String.valueOf(
                        value instanceof List<?> list
                                ? list.stream().map(String::valueOf).collect(Collectors.joining(","))
                                : value)
                .split("[,\\s]+");
    }
}
