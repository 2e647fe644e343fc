package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JobKeysTest {

    @ParameterizedTest
    @CsvSource({
        "train.learning_rat, train.learning_rate",
        "train.learningRate, train.learning_rate",
        "train.learning-rate, train.learning_rate",
        "train.sede, train.seed",
        "zero.stagee, zero.stage",
        "train.optimizer.beta, train.optimizer.betas",
        "worker, workers",
        "learning_rate, train.learning_rate"
    })
    void anUnknownKeyIsAnsweredWithTheNearest(String wrong, String meant) {
        assertEquals(
                "--set " + wrong + "=1: unknown key '" + wrong + "' - did you mean '" + meant + "'?",
                Jobs.refusedWith("", wrong + "=1"));
    }

    @Test
    void anUnknownKeyInTheFileIsReportedWithItsLine() {
        assertEquals(
                "job.yaml:7: unknown key 'train.learning_rat' - did you mean 'train.learning_rate'?",
                Jobs.refusedWith("train:\n  seed: 1\n  learning_rat: 1e-4\n"));
    }

    @Test
    void aKeyThatResemblesNothingIsAnsweredWithTheValidOnes() {
        assertEquals(
                "job.yaml:5: unknown key 'zero.bucket' - valid keys in 'zero': stage, offload_optimizer, offload_params, fixed_order",
                Jobs.refusedWith("zero: {bucket: 5}"));
        assertTrue(Jobs.refusedWith("quantum: 5").contains("valid keys at the top: model, tokenizer, data, "));
    }

    @Test
    void allProblemsAreReportedAtOnceInTheOrderOfLines() {
        String message = Jobs.refused(
                """
                model: {path: }
                train:
                  micro_batch_size: 3
                  seed: x
                  lr: 1
                workers: 0
                """,
                "precision=int8");
        assertEquals(
                List.of(
                        "job.yaml:1: missing key 'model.path' - Hugging Face model directory",
                        "job.yaml:3: train.global_batch_size (16) must be a multiple of train.micro_batch_size (3)",
                        "job.yaml:4: train.seed: expected an integer, found 'x'",
                        "job.yaml:5: unknown key 'train.lr' - valid keys in 'train': epochs, max_steps, micro_batch_size,"
                                + " global_batch_size, learning_rate, schedule, optimizer, max_grad_norm, loss_reduction,"
                                + " min_step_seconds, spike, seed",
                        "job.yaml:6: workers: expected a positive integer, found '0'",
                        "--set precision=int8: precision: expected one of bf16, fp16, fp32, found 'int8'",
                        "job.yaml: missing key 'data.train' - training samples, JSON lines",
                        "job.yaml: missing key 'output_dir' - where the run writes"),
                message.lines().toList());
    }

    @Test
    void problemsKnowTheirColumn() {
        JobConfigException refused =
                assertThrows(JobConfigException.class, () -> Jobs.with("train: {seed: 1, speed: 2}"));
        assertEquals(
                List.of(new JobPosition("job.yaml", 5, 18)),
                refused.problems().stream().map(JobProblem::at).toList());
    }

    @Test
    void aKeySetTwiceIsAnError() {
        assertEquals(
                "job.yaml:6: key 'workers' is already set at job.yaml:5", Jobs.refusedWith("workers: 1\nworkers: 2\n"));
        assertEquals(
                "job.yaml:5: key 'train.seed' is already set at job.yaml:5",
                Jobs.refusedWith("train: {seed: 1, seed: 1}"));
    }

    @Test
    void anEmptyFileLacksWhatIsRequired() {
        assertEquals(3, Jobs.refused("").lines().count());
        assertEquals(3, Jobs.refused("# nothing\n").lines().count());
    }
}
