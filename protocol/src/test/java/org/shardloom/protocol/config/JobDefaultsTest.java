package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class JobDefaultsTest {
    private static final String CONTRACT =
            """
            model: {path: /m, init: random}
            tokenizer: /t
            data:
              train: [/a.jsonl, /b.jsonl]
              eval: /e.jsonl
              format: chatglm3
              template: chatglm3
              max_length: 2048
              max_source_length: 1000
              shuffle: false
              truncate: false
            method: {type: full}
            train:
              epochs: 2
              micro_batch_size: 2
              global_batch_size: 32
              learning_rate: 2e-5
              schedule: {type: cosine, warmup_steps: 0, warmup_ratio: 0.1}
              optimizer: {type: adamw, betas: [0.8, 0.99], eps: 1e-6, weight_decay: 0, no_decay: ["*.bias", norm]}
              max_grad_norm: 0.5
              loss_reduction: micro_batch
              min_step_seconds: 0.25
              seed: 7
            precision: fp32
            zero: {stage: 2, offload_optimizer: false, offload_params: false, fixed_order: false}
            gradient_checkpointing: false
            checkpoint: {every_steps: 50, keep_last: 3, keep_best: 1}
            evaluation: {every_steps: 25, metrics: [loss, rouge, bleu]}
            workers: 4
            device: cuda
            output_dir: /out
            cluster: {insecure: true, host: 10.0.0.1, port: 2551, allow_replacement: false, min_workers: 2,
                      heartbeat_seconds: 2, lost_after_seconds: 30, join_timeout_seconds: 600,
                      collective_timeout_seconds: 900}
            threads_per_worker: 8
            """;

    @Test
    void everyKeyOfTheContractIsRead() {
        JobConfig expected = new JobConfig(
                new ModelConfigSource(Path.of("/m"), ModelConfigSource.Init.RANDOM, Optional.empty()),
                Path.of("/t"),
                new DataConfig(
                        List.of(Path.of("/a.jsonl"), Path.of("/b.jsonl")),
                        List.of(),
                        Optional.of(Path.of("/e.jsonl")),
                        DataConfig.Format.CHATGLM3,
                        DataConfig.Template.CHATGLM3,
                        2048,
                        1000,
                        false,
                        false),
                new MethodConfig(MethodConfig.Type.FULL, Map.of()),
                new TrainConfig(
                        2,
                        0,
                        2,
                        32,
                        2e-5,
                        new ScheduleConfig(ScheduleConfig.Type.COSINE, 0, 0.1),
                        new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.8, 0.99, 1e-6, 0, List.of("*.bias", "norm")),
                        0.5,
                        TrainConfig.LossReduction.MICRO_BATCH,
                        0.25,
                        new SpikeConfig(SpikeConfig.Action.PAUSE, 100),
                        7),
                Precision.FP32,
                new ZeroConfig(2, false, false, false),
                false,
                new CheckpointConfig(50, 3, 1),
                new EvaluationConfig(
                        25,
                        List.of(
                                EvaluationConfig.Metric.LOSS,
                                EvaluationConfig.Metric.ROUGE,
                                EvaluationConfig.Metric.BLEU),
                        200,
                        8,
                        128,
                        0),
                4,
                DeviceChoice.CUDA,
                Path.of("/out"),
                new ClusterConfig(true, "10.0.0.1", 2551, false, 2, 2, 30, 600, 900),
                8);
        assertEquals(expected, Jobs.parse(CONTRACT));
    }

    @Test
    void tokenIdsAreEvaluatedByTheirLoss() {
        String[] evaluated = {"data.eval=/e.jsonl", "evaluation.every_steps=5"};
        assertEquals(
                List.of(EvaluationConfig.Metric.LOSS),
                Jobs.parse(Jobs.MINIMAL, evaluated[0], evaluated[1], "data.format=pretokenized")
                        .evaluation()
                        .metrics());
        assertEquals(
                3, Jobs.parse(Jobs.MINIMAL, evaluated).evaluation().metrics().size());
        String asked = Jobs.refused(
                Jobs.MINIMAL, evaluated[0], evaluated[1], "data.format=pretokenized", "evaluation.metrics=[f1]");
        assertTrue(asked.contains("evaluation.metrics besides loss need text"), asked);
    }

    @Test
    void threeKeysAreEnoughForAJob() {
        JobConfig config = Jobs.parse(Jobs.MINIMAL);
        assertEquals(Path.of("/models/glm"), config.tokenizer());
        assertEquals(
                new TrainConfig(
                        1,
                        0,
                        1,
                        16,
                        1e-4,
                        new ScheduleConfig(ScheduleConfig.Type.LINEAR, 0, 0),
                        new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.9, 0.95, 1e-8, 0.1, List.of()),
                        1.0,
                        TrainConfig.LossReduction.TOKEN,
                        0,
                        new SpikeConfig(SpikeConfig.Action.PAUSE, 100),
                        1234),
                config.train());
        assertEquals(new ZeroConfig(3, true, false, true), config.zero());
        assertEquals(1560, config.data().maxLength());
        assertEquals(1024, config.data().maxSourceLength());
        assertEquals(Optional.empty(), config.data().eval());
        assertEquals(Precision.BF16, config.precision());
        assertEquals(DeviceChoice.AUTO, config.device());
        assertEquals(new ClusterConfig(false, "127.0.0.1", 0, true, 1, 1, 10, 120, 1800), config.cluster());
        assertTrue(config.gradientCheckpointing());
        assertEquals(0, config.threadsPerWorker());
    }

    @Test
    void nullMeansTheDefault() {
        JobConfig config = Jobs.with("train: {learning_rate: null, seed: ~, epochs: }\nzero:\n");
        assertEquals(Jobs.parse(Jobs.MINIMAL), config);
    }

    @Test
    void theLongestPromptFollowsFromTheLongestSequence() {
        assertEquals(200, Jobs.with("", "data.max_length=300").data().maxSourceLength());
        assertEquals(1, Jobs.with("", "data.max_length=1").data().maxSourceLength());
    }

    @Test
    void maxStepsAloneReplacesEpochs() {
        TrainConfig train = Jobs.with("train: {max_steps: 10}").train();
        assertEquals(10, train.maxSteps());
        assertEquals(0, train.epochs());
    }

    @Test
    void theTableNamesEveryKeyWithItsDefault() {
        String table = JobSchema.describe();
        assertEquals(JobSchema.keyPaths().size() + 1, table.lines().count());
        for (String path : JobSchema.keyPaths()) {
            assertTrue(table.lines().anyMatch(line -> line.startsWith(path + " ")), path);
        }
        assertTrue(
                table.lines()
                        .anyMatch(
                                line -> line.matches("train\\.learning_rate +1\\.0E-4 +peak .*\\(a number above 0\\)")),
                table);
        assertFalse(table.contains("%n"));
    }
}
