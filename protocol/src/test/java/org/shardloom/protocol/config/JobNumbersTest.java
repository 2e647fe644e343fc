package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class JobNumbersTest {

    @ParameterizedTest
    @CsvSource({"1e-4, 0.0001", "1E-4, 0.0001", "4, 4", "+.5, 0.5", "1., 1", "2.5e+1, 25"})
    void everyWayToWriteANumberIsUnderstood(String text, double expected) {
        assertEquals(
                expected,
                Jobs.with("train: {learning_rate: " + text + "}").train().learningRate());
    }

    @ParameterizedTest
    @ValueSource(strings = {"abc", "1e", "0x10", ".inf", ".nan", "1e999", "-1e-4", "0", "true", "1_000.0"})
    void whatIsNotANumberAboveZeroIsNoLearningRate(String text) {
        assertEquals(
                "job.yaml:5: train.learning_rate: expected a number above 0, found '" + text + "'",
                Jobs.refusedWith("train: {learning_rate: " + text + "}"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"abc", "0", "-3", "1.5", "1e3", "2147483648", "yes"})
    void whatIsNotAPositiveIntegerIsNoBatchSize(String text) {
        assertEquals(
                "job.yaml:6: train.micro_batch_size: expected a positive integer, found '" + text + "'",
                Jobs.refusedWith("train:\n  micro_batch_size: " + text + "\n"));
    }

    @Test
    void quotedNumbersAreRefusedWithAHint() {
        assertEquals(
                "job.yaml:5: workers: expected a positive integer, found the quoted text '4' - remove the quotes",
                Jobs.refusedWith("workers: '4'"));
        assertEquals(
                "job.yaml:5: train.max_grad_norm: expected a number of 0 or more, found the quoted text '1' - remove the quotes",
                Jobs.refusedWith("train: {max_grad_norm: \"1\"}"));
    }

    @Test
    void integersOutOfRangeAreRefused() {
        assertEquals(
                "job.yaml:5: train.seed: expected an integer, found a number out of range, '9223372036854775808'",
                Jobs.refusedWith("train: {seed: 9223372036854775808}"));
        assertEquals(
                Long.MIN_VALUE,
                Jobs.with("train: {seed: -9223372036854775808}").train().seed());
    }

    @ParameterizedTest
    @ValueSource(strings = {"[0.9, 1.0]", "[-0.1, 0.9]"})
    void betasLieBetweenZeroAndOne(String betas) {
        String wrong = betas.contains("1.0") ? "1.0" : "-0.1";
        assertEquals(
                "job.yaml:5: train.optimizer.betas: expected a number of at least 0 and below 1, found '" + wrong + "'",
                Jobs.refusedWith("train: {optimizer: {betas: " + betas + "}}"));
    }

    @Test
    void betasAreTwo() {
        assertEquals(
                "job.yaml:5: train.optimizer.betas: expected two numbers in [0, 1), found a list of 1",
                Jobs.refusedWith("train: {optimizer: {betas: [0.9]}}"));
        assertEquals(
                "job.yaml:5: train.optimizer.betas: expected two numbers in [0, 1), found '0.9'",
                Jobs.refusedWith("train: {optimizer: {betas: 0.9}}"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "workers: 0|workers: expected a positive integer, found '0'",
                "checkpoint: {keep_last: 0}|checkpoint.keep_last: expected a positive integer, found '0'",
                "checkpoint: {every_steps: -1}|checkpoint.every_steps: expected an integer of 0 or more, found '-1'",
                "train: {schedule: {warmup_ratio: 1.5}}|train.schedule.warmup_ratio: expected a number from 0 to 1, found '1.5'",
                "zero: {stage: 1}|zero.stage: expected 2 or 3, found '1'",
                "cluster: {port: 70000}|cluster.port: expected a port from 0 to 65535, found '70000'",
                "gradient_checkpointing: yes|gradient_checkpointing: expected true or false, found 'yes'",
                "precision: bf61|precision: expected one of bf16, fp16, fp32, found 'bf61' - did you mean 'bf16'?",
                "device: tpu|device: expected one of auto, cpu, cuda, found 'tpu' - did you mean 'cpu'?",
                "device: {cpu: 1}|device: expected one of auto, cpu, cuda, found keys and values",
                "tokenizer: [a]|tokenizer: expected a directory, found a list",
                "tokenizer: ''|tokenizer: expected a directory, found ''",
                "evaluation: {metrics: []}|evaluation.metrics: expected a list of loss, rouge, bleu, exact_match, f1, found a list of 0",
                "train: 5|train: expected keys and values, found '5'"
            })
    void valuesOutsideTheirRangeAreRefused(String line, String problem) {
        assertEquals("job.yaml:5: " + problem, Jobs.refusedWith(line));
    }
}
