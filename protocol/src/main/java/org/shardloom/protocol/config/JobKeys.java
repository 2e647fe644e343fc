package org.shardloom.protocol.config;

import static org.shardloom.protocol.config.ValueTypes.ABOVE_ZERO;
import static org.shardloom.protocol.config.ValueTypes.BOOLEAN;
import static org.shardloom.protocol.config.ValueTypes.COUNT;
import static org.shardloom.protocol.config.ValueTypes.FRACTION;
import static org.shardloom.protocol.config.ValueTypes.NOT_NEGATIVE;
import static org.shardloom.protocol.config.ValueTypes.POSITIVE;
import static org.shardloom.protocol.config.ValueTypes.choice;
import static org.shardloom.protocol.config.ValueTypes.choices;
import static org.shardloom.protocol.config.ValueTypes.integer;
import static org.shardloom.protocol.config.ValueTypes.number;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Every key of the job file, in the order in which it is written and documented. */
final class JobKeys {
    private static final KeyList DECLARED = new KeyList();

    // model, tokenizer
    static final Key<Path> MODEL_PATH =
            DECLARED.required("model.path", ValueTypes.DIRECTORY, "Hugging Face model directory", c -> c.model()
                    .path());
    static final Key<ModelConfigSource.Init> MODEL_INIT = DECLARED.key(
            "model.init",
            choice(ModelConfigSource.Init.class),
            ModelConfigSource.Init.PRETRAINED,
            "load the weights, or draw them from train.seed",
            c -> c.model().init());
    static final Key<Path> MODEL_ADAPTER = DECLARED.derived(
            "model.adapter", ValueTypes.DIRECTORY, "none", "trained adapter or prefix to start from", c -> c.model()
                    .adapter()
                    .orElse(null));
    static final Key<Path> TOKENIZER = DECLARED.derived(
            "tokenizer",
            ValueTypes.DIRECTORY,
            "model.path",
            "directory of the tokenizer's files",
            JobConfig::tokenizer);

    // data
    static final Key<List<Path>> DATA_TRAIN =
            DECLARED.required("data.train", ValueTypes.FILES, "training samples, JSON lines", c -> c.data()
                    .train());
    static final Key<List<Double>> DATA_WEIGHTS = DECLARED.key(
            "data.weights",
            ValueTypes.WEIGHTS,
            List.of(),
            "how often each file of data.train is seen in an epoch: 0.5 half of it, 2 all of it twice; none: each once",
            c -> c.data().weights());
    static final Key<Path> DATA_EVAL =
            DECLARED.derived("data.eval", ValueTypes.FILE, "none", "evaluation samples, JSON lines", c -> c.data()
                    .eval()
                    .orElse(null));
    static final Key<DataConfig.Format> DATA_FORMAT = DECLARED.key(
            "data.format",
            choice(DataConfig.Format.class),
            DataConfig.Format.ALPACA,
            "what a line of these files holds",
            c -> c.data().format());
    static final Key<DataConfig.Template> DATA_TEMPLATE = DECLARED.key(
            "data.template",
            choice(DataConfig.Template.class),
            DataConfig.Template.AUTO,
            "how a conversation is laid out for the model",
            c -> c.data().template());
    static final Key<Integer> DATA_MAX_LENGTH =
            DECLARED.key("data.max_length", POSITIVE, 1560, "longest sequence, in tokens", c -> c.data()
                    .maxLength());
    static final Key<Integer> DATA_MAX_SOURCE_LENGTH = DECLARED.derived(
            "data.max_source_length",
            POSITIVE,
            "2/3 of max_length, at most 1024",
            "longest prompt, in tokens",
            c -> c.data().maxSourceLength());
    static final Key<Boolean> DATA_SHUFFLE =
            DECLARED.key("data.shuffle", BOOLEAN, true, "give each epoch its own order", c -> c.data()
                    .shuffle());
    static final Key<Boolean> DATA_TRUNCATE = DECLARED.key(
            "data.truncate", BOOLEAN, true, "cut samples over length; false skips and counts them", c -> c.data()
                    .truncate());

    // method
    static final Key<MethodConfig.Type> METHOD_TYPE = DECLARED.key(
            "method.type",
            choice(MethodConfig.Type.class),
            MethodConfig.Type.FULL,
            "which parameters are tuned",
            c -> c.method().type());
    static final Key<Map<String, Object>> METHOD_OPTIONS =
            DECLARED.derived("method.*", ValueTypes.OPTIONS, "none", "options of the method", c -> c.method()
                    .options());

    // train
    static final Key<Integer> EPOCHS = DECLARED.derived(
            "train.epochs",
            POSITIVE,
            "1 without max_steps",
            "passes over the data",
            c -> positiveOrNull(c.train().epochs()));
    static final Key<Integer> MAX_STEPS = DECLARED.derived(
            "train.max_steps",
            POSITIVE,
            "none",
            "optimizer steps, instead of epochs",
            c -> positiveOrNull(c.train().maxSteps()));
    static final Key<Integer> MICRO_BATCH_SIZE =
            DECLARED.key("train.micro_batch_size", POSITIVE, 1, "samples that a worker computes at once", c -> c.train()
                    .microBatchSize());
    static final Key<Integer> GLOBAL_BATCH_SIZE = DECLARED.key(
            "train.global_batch_size",
            POSITIVE,
            16,
            "samples of a step, over all workers; a multiple of micro_batch_size",
            c -> c.train().globalBatchSize());
    static final Key<Double> LEARNING_RATE =
            DECLARED.key("train.learning_rate", ABOVE_ZERO, 1e-4, "peak of the schedule", c -> c.train()
                    .learningRate());
    static final Key<ScheduleConfig.Type> SCHEDULE_TYPE = DECLARED.key(
            "train.schedule.type",
            choice(ScheduleConfig.Type.class),
            ScheduleConfig.Type.LINEAR,
            "curve of the rate after the warm-up",
            c -> c.train().schedule().type());
    static final Key<Integer> WARMUP_STEPS =
            DECLARED.key("train.schedule.warmup_steps", COUNT, 0, "steps until the rate is at its peak", c -> c.train()
                    .schedule()
                    .warmupSteps());
    static final Key<Double> WARMUP_RATIO = DECLARED.key(
            "train.schedule.warmup_ratio", FRACTION, 0.0, "the same as a fraction of all steps", c -> c.train()
                    .schedule()
                    .warmupRatio());
    static final Key<OptimizerConfig.Type> OPTIMIZER_TYPE = DECLARED.key(
            "train.optimizer.type",
            choice(OptimizerConfig.Type.class),
            OptimizerConfig.Type.ADAMW,
            "update rule",
            c -> c.train().optimizer().type());
    static final Key<List<Double>> BETAS = DECLARED.key(
            "train.optimizer.betas",
            ValueTypes.BETAS,
            List.of(0.9, 0.95),
            "decay of the first and second moment",
            c -> List.of(c.train().optimizer().beta1(), c.train().optimizer().beta2()));
    static final Key<Double> EPS = DECLARED.key(
            "train.optimizer.eps",
            number("a number of at least 1e-30", x -> x >= 1e-30), // below, fp32 has none, and 0 / 0 is no number
            1e-8,
            "added to the denominator",
            c -> c.train().optimizer().eps());
    static final Key<Double> WEIGHT_DECAY =
            DECLARED.key("train.optimizer.weight_decay", NOT_NEGATIVE, 0.1, "decoupled weight decay", c -> c.train()
                    .optimizer()
                    .weightDecay());
    static final Key<List<String>> NO_DECAY = DECLARED.key(
            "train.optimizer.no_decay",
            ValueTypes.TEXTS,
            List.of(),
            "parts of the names of parameters that are not decayed, such as [bias, norm]; * stands for anything",
            c -> c.train().optimizer().noDecay());
    static final Key<Double> MAX_GRAD_NORM = DECLARED.key(
            "train.max_grad_norm",
            NOT_NEGATIVE,
            1.0,
            "longer gradients are scaled down to it; 0 never does (with the optimizer on the host of GPUs, train.spike.action: ignore"
                    + " and not in fp16, units are then updated as their gradients come)",
            c -> c.train().maxGradNorm());
    static final Key<TrainConfig.LossReduction> LOSS_REDUCTION = DECLARED.key(
            "train.loss_reduction",
            choice(TrainConfig.LossReduction.class),
            TrainConfig.LossReduction.TOKEN,
            "mean over all target tokens, or over micro-batches' own means",
            c -> c.train().lossReduction());
    static final Key<Double> MIN_STEP_SECONDS = DECLARED.key(
            "train.min_step_seconds",
            NOT_NEGATIVE,
            0.0,
            "slows a run down, for demonstrations and fault tests",
            c -> c.train().minStepSeconds());
    static final Key<SpikeConfig.Action> SPIKE_ACTION = DECLARED.key(
            "train.spike.action",
            choice(SpikeConfig.Action.class),
            SpikeConfig.Action.PAUSE,
            "before the update of a step whose loss or gradient is unlike those before",
            c -> c.train().spike().action());
    static final Key<Double> SPIKE_FACTOR = DECLARED.key(
            "train.spike.factor",
            number("a number above 1", x -> x > 1),
            100.0,
            "times the usual gradient norm that is taken for an explosion",
            c -> c.train().spike().factor());
    static final Key<Long> SEED =
            DECLARED.key("train.seed", ValueTypes.LONG, 1234L, "seed of every random choice", c -> c.train()
                    .seed());

    // precision, memory
    static final Key<Precision> PRECISION = DECLARED.key(
            "precision",
            choice(Precision.class),
            Precision.BF16,
            "type of weights and activations",
            JobConfig::precision);
    static final Key<Integer> ZERO_STAGE = DECLARED.key(
            "zero.stage",
            integer("2 or 3", 2, 3),
            3,
            "2 shards gradients and optimizer state, 3 parameters too",
            c -> c.zero().stage());
    static final Key<Boolean> OFFLOAD_OPTIMIZER = DECLARED.key(
            "zero.offload_optimizer",
            BOOLEAN,
            true,
            "keep optimizer state in host memory, and have AdamW run there; false: on the GPU",
            c -> c.zero().offloadOptimizer());
    static final Key<Boolean> OFFLOAD_PARAMS = DECLARED.key(
            "zero.offload_params", BOOLEAN, false, "keep parameter shards in host memory; stage 3 only", c -> c.zero()
                    .offloadParams());
    static final Key<Boolean> FIXED_ORDER = DECLARED.key(
            "zero.fixed_order",
            BOOLEAN,
            true,
            "GPUs add gradients in the order of ranks, so that sums repeat exactly; false leaves the order to NCCL",
            c -> c.zero().fixedOrder());
    static final Key<Boolean> GRADIENT_CHECKPOINTING = DECLARED.key(
            "gradient_checkpointing",
            BOOLEAN,
            true,
            "recompute activations in the backward pass",
            JobConfig::gradientCheckpointing);

    // checkpoint, evaluation
    static final Key<Integer> CHECKPOINT_EVERY = DECLARED.key(
            "checkpoint.every_steps",
            COUNT,
            500,
            "steps between checkpoints; the last step has one, too; 0: it alone",
            c -> c.checkpoint().everySteps());
    static final Key<Integer> KEEP_LAST =
            DECLARED.key("checkpoint.keep_last", POSITIVE, 2, "newest checkpoints that are kept", c -> c.checkpoint()
                    .keepLast());
    static final Key<Integer> KEEP_BEST = DECLARED.key(
            "checkpoint.keep_best",
            COUNT,
            0,
            "checkpoints of lowest evaluation loss that are kept besides",
            c -> c.checkpoint().keepBest());
    static final Key<Integer> EVALUATION_EVERY = DECLARED.key(
            "evaluation.every_steps", COUNT, 0, "steps between evaluations; 0 never evaluates", c -> c.evaluation()
                    .everySteps());
    static final Key<List<EvaluationConfig.Metric>> METRICS = DECLARED.key(
            "evaluation.metrics",
            choices(EvaluationConfig.Metric.class),
            List.of(EvaluationConfig.Metric.LOSS, EvaluationConfig.Metric.ROUGE, EvaluationConfig.Metric.BLEU),
            "what an evaluation measures",
            c -> c.evaluation().metrics());

    static final Key<Integer> EVALUATION_SAMPLES = DECLARED.key(
            "evaluation.samples",
            POSITIVE,
            200,
            "samples of data.eval whose loss is measured, at most",
            c -> c.evaluation().samples());
    static final Key<Integer> EVALUATION_PROMPTS =
            DECLARED.key("evaluation.prompts", COUNT, 8, "of them, how many the model answers", c -> c.evaluation()
                    .prompts());
    static final Key<Integer> EVALUATION_MAX_NEW_TOKENS =
            DECLARED.key("evaluation.max_new_tokens", POSITIVE, 128, "most tokens of an answer", c -> c.evaluation()
                    .maxNewTokens());
    static final Key<Integer> PATIENCE = DECLARED.key(
            "evaluation.patience",
            COUNT,
            0,
            "training ends after so many evaluations without a lower loss; 0 never",
            c -> c.evaluation().patience());

    // where it runs
    static final Key<Integer> WORKERS =
            DECLARED.perMember("workers", POSITIVE, 1, "workers at the start", JobConfig::workers);
    static final Key<DeviceChoice> DEVICE = DECLARED.key(
            "device", choice(DeviceChoice.class), DeviceChoice.AUTO, "what workers compute on", JobConfig::device);
    static final Key<Path> OUTPUT_DIR =
            DECLARED.required("output_dir", ValueTypes.DIRECTORY, "where the run writes", JobConfig::outputDir);
    static final Key<Boolean> INSECURE =
            DECLARED.key("cluster.insecure", BOOLEAN, false, "allow a network without TLS", c -> c.cluster()
                    .insecure());
    static final Key<String> HOST = DECLARED.perMember(
            "cluster.host", ValueTypes.TEXT, "127.0.0.1", "address that the coordinator listens on", c -> c.cluster()
                    .host());
    static final Key<Integer> PORT = DECLARED.perMember(
            "cluster.port",
            integer("a port from 0 to 65535", 0, 65535),
            0,
            "port that the coordinator listens on; 0 takes a free one",
            c -> c.cluster().port());
    static final Key<Boolean> ALLOW_REPLACEMENT = DECLARED.key(
            "cluster.allow_replacement", BOOLEAN, true, "start a replacement for a lost worker", c -> c.cluster()
                    .allowReplacement());
    static final Key<Integer> MIN_WORKERS =
            DECLARED.key("cluster.min_workers", POSITIVE, 1, "the run fails with fewer workers", c -> c.cluster()
                    .minWorkers());
    static final Key<Double> HEARTBEAT_SECONDS = DECLARED.key(
            "cluster.heartbeat_seconds", ABOVE_ZERO, 1.0, "how often members show that they live", c -> c.cluster()
                    .heartbeatSeconds());
    static final Key<Double> LOST_AFTER_SECONDS = DECLARED.key(
            "cluster.lost_after_seconds",
            ABOVE_ZERO,
            10.0,
            "silence after which a member is taken for lost",
            c -> c.cluster().lostAfterSeconds());
    static final Key<Double> JOIN_TIMEOUT_SECONDS = DECLARED.key(
            "cluster.join_timeout_seconds",
            ABOVE_ZERO,
            120.0,
            "how long the coordinator waits for workers",
            c -> c.cluster().joinTimeoutSeconds());
    static final Key<Double> COLLECTIVE_TIMEOUT_SECONDS = DECLARED.key(
            "cluster.collective_timeout_seconds",
            ABOVE_ZERO,
            1800.0,
            "how long one operation of all workers may take before they start anew from the last checkpoint",
            c -> c.cluster().collectiveTimeoutSeconds());
    static final Key<Integer> THREADS_PER_WORKER = DECLARED.perMember(
            "threads_per_worker",
            COUNT,
            0,
            "CPU threads of a worker; 0 chooses by the host's cores",
            JobConfig::threadsPerWorker);

    /** All keys, in declaration order; keys of a section stand together. */
    static final List<Key<?>> ALL = DECLARED.keys();

    /** Pairs of which only one may be set; an override of one replaces the other where the file sets it. */
    static final List<List<Key<?>>> ALTERNATIVES =
            List.of(List.of(EPOCHS, MAX_STEPS), List.of(WARMUP_STEPS, WARMUP_RATIO));

    private JobKeys() {}

    private static Integer positiveOrNull(int value) {
        return value > 0 ? value : null;
    }
}
