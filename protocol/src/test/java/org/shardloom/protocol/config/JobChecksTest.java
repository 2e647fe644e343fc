package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JobChecksTest {

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "train: {epochs: 1, max_steps: 5}|train.epochs and train.max_steps are both set; keep one of them",
                "train: {schedule: {warmup_steps: 5, warmup_ratio: 0.1}}|train.schedule.warmup_steps and train.schedule.warmup_ratio are both set; keep one of them",
                "train: {micro_batch_size: 3, global_batch_size: 8}|train.global_batch_size (8) must be a multiple of train.micro_batch_size (3)",
                "zero: {stage: 2, offload_params: true}|zero.offload_params needs zero.stage: 3",
                "evaluation: {every_steps: 5}|evaluation.every_steps needs data.eval, a file of evaluation samples",
                "checkpoint: {keep_best: 1}|checkpoint.keep_best needs evaluation.every_steps above 0, to know which are best",
                "cluster: {min_workers: 2}|cluster.min_workers (2) must not exceed workers (1)",
                "cluster: {heartbeat_seconds: 6}|cluster.lost_after_seconds (10.0) must be at least twice cluster.heartbeat_seconds (6.0)"
            })
    void contradictionsAreRefusedWithTheLineToChange(String line, String problem) {
        assertEquals("job.yaml:5: " + problem, Jobs.refusedWith(line));
    }

    @Test
    void aPromptLongerThanTheSequenceIsRefused() {
        assertEquals(
                "--set data.max_source_length=2000: data.max_source_length (2000) must not exceed data.max_length (1560)",
                Jobs.refusedWith("", "data.max_source_length=2000"));
    }

    @Test
    void methodsOfLaterVersionsAreNamedAsSuch() {
        assertEquals(
                "job.yaml:5: method 'lora' is not available in this version; use method.type: full",
                Jobs.refusedWith("method: {type: lora, rank: 8, targets: [query_key_value]}"));
        assertEquals(
                "job.yaml:5: method 'p_tuning_v2' is not available in this version; use method.type: full",
                Jobs.refusedWith("method: {type: p_tuning_v2}"));
    }

    @Test
    void fullParameterTuningTakesNoOptions() {
        assertEquals(
                "job.yaml:6: unknown key 'method.tpye' - did you mean 'method.type'? (method 'full' has no options)",
                Jobs.refusedWith("method:\n  tpye: lora\n"));
    }

    @Test
    void aRuleOnAnUnreadableValueIsPassedOver() {
        assertEquals(
                "job.yaml:5: train.global_batch_size: expected a positive integer, found 'many'",
                Jobs.refusedWith("train: {micro_batch_size: 3, global_batch_size: many}"));
    }
}
