package org.shardloom.deploy.convert;

import static org.shardloom.deploy.convert.Values.isTrue;
import static org.shardloom.deploy.convert.Values.number;
import static org.shardloom.deploy.convert.Values.real;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.BiConsumer;

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

    private final JobDraft draft = new JobDraft();
    private final KnownNames names = new KnownNames(draft);
    private final MethodImport method = new MethodImport(draft, names);
    private long perDevice;
    private long accumulation;
    private long batch;
    private long gpus;
    private long inputLength;
    private long outputLength;
    private boolean neverEvaluates;
    private final Set<String> said = new HashSet<>();
    private final Set<String> files = new HashSet<>();
    /** Setting to the file that it names. */
    private final Map<String, Object> referred = new LinkedHashMap<>();

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
        deepSpeed();
    }

    private void model() {
        names.to("model.path", "model_name_or_path", "pretrained_model_name_or_path", "model_dir", "model_path");
        names.to("output_dir", "output_dir", "work_dir");
        names.to("train.seed", "seed");
        names.on((n, v) -> gpus = gpus > 0 ? gpus : number(v), "gpus", "num_gpus", "nproc_per_node", "nproc-per-node");
        names.on(
                (n, v) -> {
                    String family = String.valueOf(v);
                    if (family.matches("glm[23]?")) {
                        draft.set("data.template", "chat" + family);
                    } else {
                        draft.leave(n, v, "set data.template yourself");
                    }
                },
                "mode");
        names.on(this::template, "template", "prompt_template");
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
        names.to("data.train", "train_path", "train_file", "train_data", "data_path");
        names.to("data.eval", "val_file", "validation_file", "eval_path", "test_path");
        names.to("data.max_length", "max_len", "cutoff_len", "max_length");
        names.to("data.max_source_length", "max_src_len");
        names.on((n, v) -> inputLength = number(v), "max_input_length", "max_source_length");
        names.on((n, v) -> outputLength = number(v), "max_output_length", "max_target_length");
        names.on((n, v) -> draft.set("data.truncate", !isTrue(v)), "is_skip");
        names.left("name the files in data.train, JSON lines", "dataset", "dataset_dir", "alpaca_en_path");
        names.left(
                "rename the columns: instruction and output in data.format alpaca", "prompt_column", "response_column");
        names.left("conversations are in data.format sharegpt or chatglm3", "history_column");
        names.left("put held-out samples into a file and name it in data.eval", "val_size");
        names.left("cut the file", "max_samples", "max_train_samples");
        names.left(
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
        names.on(
                (n, v) -> perDevice = number(v),
                "per_device_train_batch_size",
                "train_micro_batch_size_per_gpu",
                "batch_size");
        names.on((n, v) -> accumulation = number(v), "gradient_accumulation_steps", "accumulative_counts");
        names.on((n, v) -> batch = number(v), "train_batch_size");
        names.to("train.learning_rate", "learning_rate", "lr", "optimizer.params.lr");
        names.to("train.optimizer.weight_decay", "weight_decay", "optimizer.params.weight_decay");
        names.to("train.optimizer.betas", "optimizer.params.betas", "betas");
        names.to("train.optimizer.eps", "optimizer.params.eps", "adam_epsilon");
        names.on(
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
        names.on(
                (n, v) -> {
                    if (number(v) > 0) {
                        draft.set("train.max_steps", v);
                    }
                },
                "max_steps");
        names.to("train.max_grad_norm", "max_grad_norm", "max_norm", "gradient_clipping");
        names.to("train.schedule.warmup_ratio", "warmup_ratio");
        names.on(
                (n, v) -> {
                    if (number(v) > 0) {
                        draft.set("train.schedule.warmup_steps", v);
                    }
                },
                "warmup_steps",
                "scheduler.params.warmup_num_steps");
        names.on(this::schedule, "lr_scheduler_type");
        names.on((n, v) -> draft.set("gradient_checkpointing", isTrue(v)), "gradient_checkpointing");
        names.to("checkpoint.every_steps", "save_model_step", "save_steps");
        names.to("checkpoint.keep_last", "save_total_limit");
        names.to("evaluation.every_steps", "eval_steps", "evaluation_freq");
        names.on(this::strategy, "save_strategy", "eval_strategy", "evaluation_strategy", "logging_strategy");
        names.on((n, v) -> precision(v, "bf16"), "bf16", "bf16.enabled");
        names.on((n, v) -> precision(v, "fp16"), "fp16", "fp16.enabled");
        names.left("every step is in metrics.jsonl", "show_loss_step", "logging_steps", "steps_per_print", "report_to");
        names.left("start with --resume DIR", "resume_from_checkpoint", "resume");
        names.left(
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
        names.on((n, v) -> gpus = gpus > 0 ? gpus : String.valueOf(v).split(",").length, "include");
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

    private void deepSpeed() {
        names.on(
                (n, v) -> {
                    long stage = number(v);
                    draft.set("zero.stage", Math.max(2, stage));
                    if (stage < 2) {
                        draft.leave(n, v, "stage 2 shards more and costs no more communication");
                    }
                },
                "zero_optimization.stage");
        names.on((n, v) -> offload(n, v, "zero.offload_params"), "zero_optimization.offload_param.device");
        names.on((n, v) -> offload(n, v, "zero.offload_optimizer"), "zero_optimization.offload_optimizer.device");
        names.on(
                (n, v) -> {
                    if (!v.equals(Boolean.TRUE)) { // a flag without a file: another names it
                        referred.put(n, v);
                    }
                },
                "ds_file",
                "deepspeed",
                "deepspeed_config");
        names.left("AdamW is the one optimizer here", "optimizer.type");
        names.left("see train.schedule", "scheduler.type");
    }

    private void offload(String name, Object device, String key) {
        draft.set(key, !device.equals("none"));
        if (device.equals("nvme")) {
            draft.leave(name, device, key + " keeps it in the host's memory; nothing is kept on disks");
        }
    }

    /** The settings of this file are among those that are added: settings that refer to it are carried over. */
    public void has(Path file) {
        files.add(file.getFileName().toString());
    }

    private void leaveReferred() {
        referred.forEach((name, value) -> {
            String file = String.valueOf(value).replaceFirst(".*[/\\\\]", "");
            if (!files.contains(file)) {
                draft.leave(name, value, "give this file to the import, too");
            }
        });
    }

    /** Takes the settings of one file or command line. */
    public void add(Map<String, Object> settings) {
        settings.forEach((name, value) -> {
            for (String part : name.split("\\.")) {
                said.add(part);
            }
            String leaf = name.substring(name.lastIndexOf('.') + 1);
            String parent = name.substring(0, Math.max(0, name.length() - leaf.length() - 1));
            BiConsumer<String, Object> handler = names.handler(name);
            if (handler == null && PARENTS.contains(parent)) {
                handler = names.handler(leaf);
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
        SourceDefaults.of(said, method.kind(), rank).forEach((name, value) -> {
            boolean batchSaid = name.equals("per_device_train_batch_size") && (perDevice > 0 || batch > 0);
            boolean lengthSaid = lengthsSaid && name.matches("max_(source|target)_length");
            boolean stepsSaid = name.equals("num_train_epochs") && draft.get("train.max_steps") != null;
            boolean warmupSaid = name.equals("warmup_ratio") && draft.get("train.schedule.warmup_steps") != null;
            String key = names.key(name);
            if (!said.contains(name)
                    && !batchSaid
                    && !lengthSaid
                    && !stepsSaid
                    && !warmupSaid
                    && (key == null || draft.get(key) == null)) {
                names.handler(name).accept(name, value);
                draft.assume(name, value);
            }
        });
    }

    /** The job file. */
    public JobDraft finish() {
        leaveReferred();
        method.infer();
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
        method.finish();
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
}
