package org.shardloom.deploy.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.MethodConfig;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigException;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Placement;

/**
 * A model and how it is trained.
 *
 * @param name as it was asked for
 * @param sequence tokens of every sequence
 * @param microBatch sequences that one worker computes at once
 * @param method what is trained
 * @param placement where workers on GPUs keep optimizer state and parameters
 * @param fixedOrder whether GPUs add gradients in the order of ranks
 */
record BenchModel(
        String name,
        DecoderConfig decoder,
        int sequence,
        int microBatch,
        DType dtype,
        int stage,
        boolean recompute,
        OptimizerConfig optimizer,
        double maxGradNorm,
        MethodConfig method,
        Placement placement,
        boolean fixedOrder) {
    private static final OptimizerConfig ADAMW =
            new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.9, 0.95, 1e-8, 0.1, List.of());

    /** Thirty million parameters, vocabulary of 8,192. */
    static final BenchModel S = chatglm3("S", 512, 8, 8, 1376, 8192, 256, 8);

    /** Two hundred and sixty million parameters with the vocabulary of ChatGLM3-6B. */
    static final BenchModel M = chatglm3("M", 1024, 12, 16, 2736, 65024, 512, 2);

    /**
     * S, M or what a job file describes.
     *
     * @throws IllegalArgumentException when it is none of them, or the file or its model cannot be used
     */
    static BenchModel of(String name) {
        if (name.equals("S") || name.equals("M")) {
            return name.equals("S") ? S : M;
        }
        if (!Files.isRegularFile(Path.of(name))) {
            throw new IllegalArgumentException("--config is S, M or a job file; there is no file '" + name + "'");
        }
        try {
            JobConfig job = JobFile.load(Path.of(name), List.of()).config();
            return new BenchModel(
                    name,
                    ModelConfigReader.read(job.model().path()),
                    job.data().maxLength(),
                    job.train().microBatchSize(),
                    DType.valueOf(
                            switch (job.precision()) {
                                case BF16 -> "BF16";
                                case FP16 -> "F16";
                                case FP32 -> "F32";
                            }),
                    job.zero().stage(),
                    job.gradientCheckpointing(),
                    job.train().optimizer(),
                    job.train().maxGradNorm(),
                    job.method(),
                    new Placement(job.zero().offloadOptimizer(), job.zero().offloadParams()),
                    job.zero().fixedOrder());
        } catch (JobConfigException | ModelConfigException e) {
            throw new IllegalArgumentException(e.getMessage(), e);
        }
    }

    /**
     * The shape of ChatGLM3-6B, of ChatGLM-6B, or of what {@link #of} takes.
     *
     * @throws IllegalArgumentException when it is none of them
     */
    static DecoderConfig decoderOf(String name) {
        return switch (name) {
            case "chatglm3-6b" -> chatglm3(name, 4096, 28, 32, 13696, 65024, 1560, 1)
                    .decoder();
            case "chatglm-6b" -> new DecoderConfig(
                    DecoderConfig.Names.CHATGLM_6B,
                    130528,
                    4096,
                    28,
                    new AttentionShape(
                            32, 32, 128, 128, AttentionShape.Rotation.TWO_DIMENSIONAL, AttentionShape.Layout.BY_HEAD),
                    16384,
                    1e-5f,
                    10000,
                    2048,
                    true,
                    false);
            default -> of(name).decoder();
        };
    }

    private static BenchModel chatglm3(
            String name,
            int hidden,
            int layers,
            int heads,
            int feedForward,
            int vocabulary,
            int sequence,
            int microBatch) {
        int headSize = hidden / heads;
        DecoderConfig decoder = new DecoderConfig(
                DecoderConfig.Names.CHATGLM,
                vocabulary,
                hidden,
                layers,
                new AttentionShape(heads, 2, headSize, headSize / 2, true),
                feedForward,
                1e-5f,
                10000,
                sequence,
                true,
                false);
        return new BenchModel(
                name,
                decoder,
                sequence,
                microBatch,
                DType.BF16,
                3,
                false,
                ADAMW,
                1.0,
                methodOf("full"),
                Placement.OFFLOADED_OPTIMIZER,
                true);
    }

    /**
     * The same with these instead of its own; null keeps its own.
     *
     * @throws IllegalArgumentException when they do not go together
     */
    BenchModel with(String precision, Integer newStage, Boolean newRecompute, String newMethod) {
        if (newStage != null && newStage < 3 && placement.parametersOnHost()) {
            throw new IllegalArgumentException("--stage " + newStage
                    + " does not go with zero.offload_params: true of the job file, which needs stage 3");
        }
        return new BenchModel(
                name,
                decoder,
                sequence,
                microBatch,
                precision == null ? dtype : dtypeOf(precision),
                newStage == null ? stage : newStage,
                newRecompute == null ? recompute : newRecompute,
                optimizer,
                maxGradNorm,
                newMethod == null ? method : methodOf(newMethod),
                placement,
                fixedOrder);
    }

    /** A method of a job file with the defaults of its options. */
    static MethodConfig methodOf(String name) {
        MethodConfig.Type type = MethodConfig.Type.valueOf(name.toUpperCase(Locale.ROOT));
        return new MethodConfig(type, type == MethodConfig.Type.FREEZE ? Map.of("last_layers", 1L) : Map.of());
    }

    /** The model with what the method adds to it. */
    TunedModel tuned() {
        return Tuning.of(decoder, method.tuning());
    }

    /** What an engine is told. */
    EngineConfig engine() {
        return new EngineConfig(
                dtype,
                stage,
                recompute,
                optimizer,
                maxGradNorm,
                sequence,
                new SpikeConfig(SpikeConfig.Action.IGNORE, 100),
                placement,
                true);
    }

    /** The type that goes by that name in a job file. */
    static DType dtypeOf(String precision) {
        return switch (precision.toLowerCase(Locale.ROOT)) {
            case "bf16" -> DType.BF16;
            case "fp16" -> DType.F16;
            case "fp32" -> DType.F32;
            default -> throw new IllegalArgumentException(
                    "--precision is bf16, fp16 or fp32, found '" + precision + "'");
        };
    }

    /** A dtype's name in a job file. */
    static String nameOf(DType dtype) {
        return switch (dtype) {
            case BF16 -> "bf16";
            case F16 -> "fp16";
            case F32 -> "fp32";
        };
    }

    /** Trained values. */
    long parameters() {
        return DecoderUnits.of(decoder).stream()
                .mapToLong(UnitSpec::parameterCount)
                .sum();
    }

    /** Tokens of one worker's micro-batch. */
    int tokens() {
        return sequence * microBatch;
    }
}
