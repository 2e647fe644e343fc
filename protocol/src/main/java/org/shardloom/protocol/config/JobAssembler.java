package org.shardloom.protocol.config;

import java.util.List;
import java.util.Map;

/** Makes the configuration of values that have passed every check. Defaults that depend on other keys are here. */
final class JobAssembler {
    private JobAssembler() {}

    static JobConfig assemble(JobValues v) {
        ModelConfigSource model = new ModelConfigSource(
                v.get(JobKeys.MODEL_PATH), v.get(JobKeys.MODEL_INIT), v.find(JobKeys.MODEL_ADAPTER));
        return new JobConfig(
                model,
                v.find(JobKeys.TOKENIZER).orElse(model.path()),
                data(v),
                new MethodConfig(
                        v.get(JobKeys.METHOD_TYPE),
                        v.find(JobKeys.METHOD_OPTIONS).orElse(Map.of())),
                train(v),
                v.get(JobKeys.PRECISION),
                new ZeroConfig(
                        v.get(JobKeys.ZERO_STAGE),
                        v.get(JobKeys.OFFLOAD_OPTIMIZER),
                        v.get(JobKeys.OFFLOAD_PARAMS),
                        v.get(JobKeys.FIXED_ORDER)),
                v.get(JobKeys.GRADIENT_CHECKPOINTING),
                new CheckpointConfig(
                        v.get(JobKeys.CHECKPOINT_EVERY), v.get(JobKeys.KEEP_LAST), v.get(JobKeys.KEEP_BEST)),
                new EvaluationConfig(
                        v.get(JobKeys.EVALUATION_EVERY),
                        metrics(v),
                        v.get(JobKeys.EVALUATION_SAMPLES),
                        v.get(JobKeys.EVALUATION_PROMPTS),
                        v.get(JobKeys.EVALUATION_MAX_NEW_TOKENS),
                        v.get(JobKeys.PATIENCE)),
                v.get(JobKeys.WORKERS),
                v.get(JobKeys.DEVICE),
                v.get(JobKeys.OUTPUT_DIR),
                cluster(v),
                v.get(JobKeys.THREADS_PER_WORKER));
    }

    /** Token ids have no text: what is not asked for is not measured of them. */
    private static List<EvaluationConfig.Metric> metrics(JobValues v) {
        boolean text = v.get(JobKeys.DATA_FORMAT) != DataConfig.Format.PRETOKENIZED;
        return text || v.isSet(JobKeys.METRICS) ? v.get(JobKeys.METRICS) : List.of(EvaluationConfig.Metric.LOSS);
    }

    private static DataConfig data(JobValues v) {
        int maxLength = v.get(JobKeys.DATA_MAX_LENGTH);
        return new DataConfig(
                v.get(JobKeys.DATA_TRAIN),
                v.get(JobKeys.DATA_WEIGHTS),
                v.find(JobKeys.DATA_EVAL),
                v.get(JobKeys.DATA_FORMAT),
                v.get(JobKeys.DATA_TEMPLATE),
                maxLength,
                v.find(JobKeys.DATA_MAX_SOURCE_LENGTH).orElse(DataConfig.defaultMaxSourceLength(maxLength)),
                v.get(JobKeys.DATA_SHUFFLE),
                v.get(JobKeys.DATA_TRUNCATE));
    }

    private static TrainConfig train(JobValues v) {
        int maxSteps = v.find(JobKeys.MAX_STEPS).orElse(0);
        List<Double> betas = v.get(JobKeys.BETAS);
        return new TrainConfig(
                v.find(JobKeys.EPOCHS).orElse(maxSteps > 0 ? 0 : 1),
                maxSteps,
                v.get(JobKeys.MICRO_BATCH_SIZE),
                v.get(JobKeys.GLOBAL_BATCH_SIZE),
                v.get(JobKeys.LEARNING_RATE),
                new ScheduleConfig(
                        v.get(JobKeys.SCHEDULE_TYPE), v.get(JobKeys.WARMUP_STEPS), v.get(JobKeys.WARMUP_RATIO)),
                new OptimizerConfig(
                        v.get(JobKeys.OPTIMIZER_TYPE),
                        betas.get(0),
                        betas.get(1),
                        v.get(JobKeys.EPS),
                        v.get(JobKeys.WEIGHT_DECAY),
                        v.get(JobKeys.NO_DECAY)),
                v.get(JobKeys.MAX_GRAD_NORM),
                v.get(JobKeys.LOSS_REDUCTION),
                v.get(JobKeys.MIN_STEP_SECONDS),
                new SpikeConfig(v.get(JobKeys.SPIKE_ACTION), v.get(JobKeys.SPIKE_FACTOR)),
                v.get(JobKeys.SEED));
    }

    private static ClusterConfig cluster(JobValues v) {
        return new ClusterConfig(
                v.get(JobKeys.INSECURE),
                v.get(JobKeys.HOST),
                v.get(JobKeys.PORT),
                v.get(JobKeys.ALLOW_REPLACEMENT),
                v.get(JobKeys.MIN_WORKERS),
                v.get(JobKeys.HEARTBEAT_SECONDS),
                v.get(JobKeys.LOST_AFTER_SECONDS),
                v.get(JobKeys.JOIN_TIMEOUT_SECONDS),
                v.get(JobKeys.COLLECTIVE_TIMEOUT_SECONDS));
    }
}
