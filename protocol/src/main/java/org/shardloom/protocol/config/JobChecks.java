package org.shardloom.protocol.config;

import static org.shardloom.protocol.config.JobKeys.CHECKPOINT_EVERY;
import static org.shardloom.protocol.config.JobKeys.DATA_EVAL;
import static org.shardloom.protocol.config.JobKeys.DATA_FORMAT;
import static org.shardloom.protocol.config.JobKeys.DATA_MAX_LENGTH;
import static org.shardloom.protocol.config.JobKeys.DATA_MAX_SOURCE_LENGTH;
import static org.shardloom.protocol.config.JobKeys.DATA_TRAIN;
import static org.shardloom.protocol.config.JobKeys.DATA_WEIGHTS;
import static org.shardloom.protocol.config.JobKeys.EPOCHS;
import static org.shardloom.protocol.config.JobKeys.EVALUATION_EVERY;
import static org.shardloom.protocol.config.JobKeys.GLOBAL_BATCH_SIZE;
import static org.shardloom.protocol.config.JobKeys.HEARTBEAT_SECONDS;
import static org.shardloom.protocol.config.JobKeys.KEEP_BEST;
import static org.shardloom.protocol.config.JobKeys.LOST_AFTER_SECONDS;
import static org.shardloom.protocol.config.JobKeys.MAX_STEPS;
import static org.shardloom.protocol.config.JobKeys.METHOD_OPTIONS;
import static org.shardloom.protocol.config.JobKeys.METHOD_TYPE;
import static org.shardloom.protocol.config.JobKeys.METRICS;
import static org.shardloom.protocol.config.JobKeys.MICRO_BATCH_SIZE;
import static org.shardloom.protocol.config.JobKeys.MIN_WORKERS;
import static org.shardloom.protocol.config.JobKeys.MODEL_ADAPTER;
import static org.shardloom.protocol.config.JobKeys.MODEL_INIT;
import static org.shardloom.protocol.config.JobKeys.OFFLOAD_OPTIMIZER;
import static org.shardloom.protocol.config.JobKeys.OFFLOAD_PARAMS;
import static org.shardloom.protocol.config.JobKeys.PATIENCE;
import static org.shardloom.protocol.config.JobKeys.WARMUP_RATIO;
import static org.shardloom.protocol.config.JobKeys.WARMUP_STEPS;
import static org.shardloom.protocol.config.JobKeys.WORKERS;
import static org.shardloom.protocol.config.JobKeys.ZERO_STAGE;

import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;

/** Rules that tie several keys together. A rule on a key that could not be read is passed over. */
final class JobChecks {
    private static final Set<MethodConfig.Type> ADDING_METHODS = EnumSet.of(
            MethodConfig.Type.LORA, MethodConfig.Type.QLORA, MethodConfig.Type.P_TUNING, MethodConfig.Type.P_TUNING_V2);

    /** A rule; the problem is reported at the first of the keys that was set. */
    private record Rule(List<Key<?>> keys, Predicate<JobValues> violated, Function<JobValues, String> message) {}

    private static final List<Rule> RULES = List.of(
            rule(
                    List.of(MAX_STEPS, EPOCHS),
                    v -> v.isSet(EPOCHS) && v.isSet(MAX_STEPS),
                    v -> "train.epochs and train.max_steps are both set; keep one of them"),
            rule(
                    List.of(WARMUP_RATIO, WARMUP_STEPS),
                    v -> v.get(WARMUP_STEPS) > 0 && v.get(WARMUP_RATIO) > 0,
                    v -> "train.schedule.warmup_steps and train.schedule.warmup_ratio are both set; keep one of them"),
            rule(
                    List.of(GLOBAL_BATCH_SIZE, MICRO_BATCH_SIZE),
                    v -> v.get(GLOBAL_BATCH_SIZE) % v.get(MICRO_BATCH_SIZE) != 0,
                    v -> "train.global_batch_size (" + v.get(GLOBAL_BATCH_SIZE)
                            + ") must be a multiple of train.micro_batch_size (" + v.get(MICRO_BATCH_SIZE) + ")"),
            rule(
                    List.of(DATA_MAX_SOURCE_LENGTH, DATA_MAX_LENGTH),
                    v -> v.find(DATA_MAX_SOURCE_LENGTH).orElse(0) > v.get(DATA_MAX_LENGTH),
                    v -> "data.max_source_length (" + v.get(DATA_MAX_SOURCE_LENGTH)
                            + ") must not exceed data.max_length (" + v.get(DATA_MAX_LENGTH) + ")"),
            rule(
                    List.of(MODEL_INIT, METHOD_TYPE),
                    v -> v.get(MODEL_INIT) == ModelConfigSource.Init.RANDOM
                            && v.get(METHOD_TYPE) != MethodConfig.Type.FULL,
                    v -> "model.init: random needs method.type: full; with '"
                            + METHOD_TYPE.type().render(v.get(METHOD_TYPE))
                            + "' most of the model would stay random for ever"),
            rule(
                    List.of(MODEL_ADAPTER, METHOD_TYPE),
                    v -> v.find(MODEL_ADAPTER).isPresent() && !ADDING_METHODS.contains(v.get(METHOD_TYPE)),
                    v -> "model.adapter needs a method that adds something to the model, such as method.type: lora"),
            rule(
                    List.of(DATA_WEIGHTS, DATA_TRAIN),
                    v -> !v.get(DATA_WEIGHTS).isEmpty()
                            && v.find(DATA_TRAIN).isPresent()
                            && v.get(DATA_WEIGHTS).size() != v.get(DATA_TRAIN).size(),
                    v -> "data.weights has " + v.get(DATA_WEIGHTS).size() + " numbers for the "
                            + v.get(DATA_TRAIN).size() + " files of data.train"),
            rule(
                    List.of(OFFLOAD_PARAMS, ZERO_STAGE),
                    v -> v.get(OFFLOAD_PARAMS) && v.get(ZERO_STAGE) < 3,
                    v -> "zero.offload_params needs zero.stage: 3"),
            rule(
                    List.of(OFFLOAD_PARAMS, OFFLOAD_OPTIMIZER),
                    v -> v.get(OFFLOAD_PARAMS) && !v.get(OFFLOAD_OPTIMIZER),
                    v ->
                            "zero.offload_params needs zero.offload_optimizer: true, since parameters are updated where the"
                                    + " optimizer is"),
            rule(
                    List.of(EVALUATION_EVERY, DATA_EVAL),
                    v -> v.get(EVALUATION_EVERY) > 0 && v.find(DATA_EVAL).isEmpty(),
                    v -> "evaluation.every_steps needs data.eval, a file of evaluation samples"),
            rule(
                    List.of(KEEP_BEST, EVALUATION_EVERY),
                    v -> v.get(KEEP_BEST) > 0 && v.get(EVALUATION_EVERY) == 0,
                    v -> "checkpoint.keep_best needs evaluation.every_steps above 0, to know which are best"),
            rule(
                    List.of(KEEP_BEST, CHECKPOINT_EVERY),
                    v -> v.get(KEEP_BEST) > 0 && v.get(CHECKPOINT_EVERY) == 0,
                    v -> "checkpoint.keep_best needs checkpoint.every_steps above 0"),
            rule(
                    List.of(KEEP_BEST, CHECKPOINT_EVERY, EVALUATION_EVERY),
                    v -> v.get(KEEP_BEST) > 0
                            && v.get(EVALUATION_EVERY) > 0
                            && v.get(CHECKPOINT_EVERY) % v.get(EVALUATION_EVERY) != 0,
                    v -> "checkpoint.keep_best needs checkpoint.every_steps (" + v.get(CHECKPOINT_EVERY)
                            + ") to be a multiple of evaluation.every_steps (" + v.get(EVALUATION_EVERY)
                            + "), so that each checkpoint has been evaluated"),
            rule(
                    List.of(METRICS, DATA_FORMAT),
                    v -> v.get(EVALUATION_EVERY) > 0
                            && v.isSet(METRICS)
                            && v.get(DATA_FORMAT) == DataConfig.Format.PRETOKENIZED
                            && v.get(METRICS).stream().anyMatch(m -> m != EvaluationConfig.Metric.LOSS),
                    v -> "evaluation.metrics besides loss need text, which data.format: pretokenized does not have"),
            rule(
                    List.of(PATIENCE, EVALUATION_EVERY),
                    v -> v.get(PATIENCE) > 0 && v.get(EVALUATION_EVERY) == 0,
                    v -> "evaluation.patience needs evaluation.every_steps above 0"),
            rule(
                    List.of(MIN_WORKERS, WORKERS),
                    v -> v.get(MIN_WORKERS) > v.get(WORKERS),
                    v -> "cluster.min_workers (" + v.get(MIN_WORKERS) + ") must not exceed workers (" + v.get(WORKERS)
                            + ")"),
            rule(
                    List.of(LOST_AFTER_SECONDS, HEARTBEAT_SECONDS),
                    v -> v.get(LOST_AFTER_SECONDS) < 2 * v.get(HEARTBEAT_SECONDS),
                    v -> "cluster.lost_after_seconds (" + v.get(LOST_AFTER_SECONDS)
                            + ") must be at least twice cluster.heartbeat_seconds (" + v.get(HEARTBEAT_SECONDS) + ")"));

    private JobChecks() {}

    /** Notes every violated rule; {@code file} is the position of last resort. */
    static void run(JobValues values, JobPosition file) {
        for (Rule rule : RULES) {
            if (rule.keys().stream().noneMatch(values::isBroken)
                    && rule.violated().test(values)) {
                values.problem(
                        position(rule, values).orElse(file), rule.message().apply(values));
            }
        }
        if (!values.isBroken(METHOD_TYPE)) {
            checkMethod(values, file);
        }
    }

    private static void checkMethod(JobValues values, JobPosition file) {
        MethodConfig method = new MethodConfig(
                values.get(METHOD_TYPE), values.find(METHOD_OPTIONS).orElse(Map.of()));
        MethodOptions.read(
                method,
                (option, message) -> values.problem(
                        values.position("method." + option)
                                .or(() -> values.position(METHOD_TYPE.path()))
                                .orElse(file),
                        message));
    }

    private static Optional<JobPosition> position(Rule rule, JobValues values) {
        return rule.keys().stream().filter(values::isSet).findFirst().flatMap(key -> values.position(key.path()));
    }

    private static Rule rule(List<Key<?>> keys, Predicate<JobValues> violated, Function<JobValues, String> message) {
        return new Rule(keys, violated, message);
    }
}
