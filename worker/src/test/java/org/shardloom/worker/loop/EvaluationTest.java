package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.message.EvaluationReport;
import org.shardloom.protocol.message.EvaluationReport.Answer;
import org.shardloom.worker.data.DataException;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.TinyModel;
import org.shardloom.worker.zero.ZeroEngine;

/** Evaluations between steps, by all ranks: small sets, and those in which something goes wrong. With the 260K-parameter TinyStories model. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class EvaluationTest {
    /** What the model continues "The sun was" with, from reference.json. */
    private static final String RIGHT = "shining and the";

    private final Path model = SharedFixtures.require("stories260k");
    private DecoderConfig config;

    @TempDir
    Path directory;

    @BeforeEach
    void read() {
        config = ModelConfigReader.read(model);
    }

    /** A job that evaluates with that many lines. */
    private JobConfig job(int lines) throws Exception {
        String line = "{\"instruction\": \"The sun was\", \"input\": \"\", \"output\": \"" + RIGHT + "\"}\n";
        Files.writeString(directory.resolve("train.jsonl"), line.repeat(4));
        Files.writeString(directory.resolve("eval.jsonl"), line.repeat(lines));
        Path file = Files.writeString(
                directory.resolve("job.yaml"),
                """
                model: {path: %s}
                data: {train: train.jsonl, eval: eval.jsonl, template: plain, max_length: 64}
                train: {max_steps: 3, micro_batch_size: 1, global_batch_size: 4, learning_rate: 1e-5}
                evaluation: {every_steps: 1, metrics: [loss, rouge, exact_match], prompts: 8, max_new_tokens: 6}
                precision: fp32
                output_dir: out
                """
                        .formatted(model));
        return JobFile.load(file, List.of()).config();
    }

    /** What a rank does with an engine over the model's weights. */
    private interface Work<T> {
        T run(int rank, ZeroEngine engine, ExhaustibleDevice device) throws Exception;
    }

    private <T> List<T> withEngines(int world, int stage, Work<T> work) throws Exception {
        return Ranks.run(world, (rank, group) -> {
            EngineConfig how = new EngineConfig(DType.F32, stage, false, TinyModel.ADAMW, 1.0, 128);
            try (ExhaustibleDevice device = new ExhaustibleDevice();
                    ZeroEngine engine = new ZeroEngine(TunedModel.full(config), how, device, group)) {
                StartWeights.fillAll(
                        new ModelConfigSource(model, ModelConfigSource.Init.PRETRAINED, Optional.empty()), 1, engine);
                engine.publishMaster();
                return work.run(rank, engine, device);
            }
        });
    }

    /** The model has positions for so many tokens and no more, whatever answers may take. */
    @Test
    void sequencesEndWhereTheModelsContextDoes() throws Exception {
        job(2);
        JobConfig job = JobFile.load(directory.resolve("job.yaml"), List.of("evaluation.max_new_tokens=60"))
                .config();
        DecoderConfig small = new DecoderConfig(
                config.names(),
                config.vocabulary(),
                config.hidden(),
                config.layers(),
                config.attention(),
                config.feedForward(),
                config.normEpsilon(),
                config.ropeBase(),
                12,
                config.qkvBias(),
                config.tiedEmbeddings());
        int sample;
        try (Evaluation evaluation = new Evaluation(job, config, directory)) {
            sample = evaluation.longestSample();
            assertTrue(evaluation.longest() > 12, "with room there would be more");
        }
        assertTrue(sample <= 12);
        try (Evaluation evaluation = new Evaluation(job, small, directory)) {
            assertEquals(12, evaluation.longest());
        }
        JobConfig prefixed = JobFile.load(
                        directory.resolve("job.yaml"), List.of("method={type: p_tuning, virtual_tokens: 8}"))
                .config();
        String message = assertThrows(DataException.class, () -> new Evaluation(prefixed, small, directory))
                .getMessage();
        assertTrue(
                message.contains("the longest sample has " + sample + " tokens, and the method adds 8")
                        && message.contains("set data.max_length to 4 at most"),
                message);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void aSetOfOneLineIsEnoughForFourRanks(int stage) throws Exception {
        JobConfig job = job(1);
        List<EvaluationReport> alone = reports(job, 1, stage);
        List<EvaluationReport> ofFour = reports(job, 4, stage);
        Answer expected = alone.get(0).answers().get(0);
        assertEquals(RIGHT, expected.answer());
        assertEquals(1.0, expected.scores().get("exact-match"));
        List<Answer> answers = new ArrayList<>();
        for (EvaluationReport report : ofFour) {
            assertNull(report.failure());
            assertEquals(1, report.samples());
            assertEquals(alone.get(0).loss(), report.loss(), 1e-6);
            answers.addAll(report.answers());
        }
        assertEquals(List.of(expected), answers, "one rank has answered");
    }

    private List<EvaluationReport> reports(JobConfig job, int world, int stage) throws Exception {
        return withEngines(world, stage, (rank, engine, device) -> {
            try (Evaluation evaluation = new Evaluation(job, config, directory.resolve("cache-" + rank))) {
                return evaluation.run(engine, device, rank, world);
            }
        });
    }

    /** Two ranks, of which the second cannot put its tokens into words. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void aRankThatCannotAnswerSaysSoAndTheOthersAndTrainingGoOn(int stage) throws Exception {
        JobConfig job = job(5);
        double[] plain = stepsAfter(stage, (rank, engine, device) -> null);
        double[] found = stepsAfter(stage, (rank, engine, device) -> {
            Evaluation evaluation = new Evaluation(job, config, directory.resolve("cache-" + rank));
            if (rank == 1) {
                evaluation.close();
            }
            EvaluationReport report = evaluation.run(engine, device, rank, 2);
            assertTrue(Double.isFinite(report.loss()), "the loss needs no words");
            if (rank == 1) {
                assertTrue(report.failure().startsWith("answers could not be generated or scored: "), report.failure());
                assertEquals(List.of(), report.answers());
            } else {
                assertNull(report.failure());
                assertEquals(3, report.answers().size(), "every other of five");
                report.answers().forEach(answer -> assertEquals(RIGHT, answer.answer()));
                evaluation.close();
            }
            return null;
        });
        for (int i = 0; i < plain.length; i++) {
            assertEquals(plain[i], found[i], "loss of step " + (i + 1));
        }
    }

    /** Weights that are no numbers, as after a fault of the memory: there is nothing to generate from. */
    @Test
    void generationThatThrowsIsReportedAndTrainingGoesOn() throws Exception {
        JobConfig job = job(5);
        double[] plain = stepsAfter(3, (rank, engine, device) -> null);
        double[] found = stepsAfter(3, (rank, engine, device) -> {
            Tensor masters = engine.optimizer()
                    .get(engine.units().size() - 1, Part.MASTER)
                    .slice(0, 32);
            float[] kept = Inputs.toFloats(device, masters);
            try (Evaluation evaluation = new Evaluation(job, config, directory.resolve("cache-" + rank))) {
                float[] damaged = new float[kept.length];
                Arrays.fill(damaged, Float.NaN);
                write(damaged, masters);
                engine.publishMaster();
                EvaluationReport report = evaluation.run(engine, device, rank, 2);
                assertTrue(Double.isNaN(report.loss()), "loss " + report.loss());
                assertTrue(report.failure().contains("the logit of token"), report.failure());
                write(kept, masters);
                engine.publishMaster();
                assertNull(evaluation.run(engine, device, rank, 2).failure());
            }
            return null;
        });
        for (int i = 0; i < plain.length; i++) {
            assertEquals(plain[i], found[i], "loss of step " + (i + 1));
        }
    }

    /** The second of two ranks runs out of heap in its forward passes: in all, or in those of the loss or of the answers only. */
    @ParameterizedTest
    @CsvSource({
        "2, gatherRows",
        "3, gatherRows",
        "3, softmaxCrossEntropy",
        "2, attentionWithCache",
        "3, attentionWithCache"
    })
    void anExhaustedHeapIsReportedAndTheOthersAndTrainingGoOn(int stage, String operation) throws Exception {
        JobConfig job = job(5);
        boolean losses = !operation.equals("attentionWithCache");
        boolean answers = !operation.equals("softmaxCrossEntropy");
        double[] plain = stepsAfter(stage, (rank, engine, device) -> null);
        double[] found = stepsAfter(stage, (rank, engine, device) -> {
            try (Evaluation evaluation = new Evaluation(job, config, directory.resolve("cache-" + rank))) {
                device.failing = rank == 1 ? operation : null;
                EvaluationReport report = evaluation.run(engine, device, rank, 2);
                device.failing = null;
                assertEquals(losses, Double.isNaN(report.loss()), "loss " + report.loss());
                if (rank == 1) {
                    String heap = " java.lang.OutOfMemoryError: Java heap space";
                    assertEquals(losses, report.failure().contains("could not be measured:" + heap), report.failure());
                    assertEquals(answers, report.failure().contains("generated or scored:" + heap), report.failure());
                    assertEquals(answers ? 0 : 2, report.answers().size());
                } else {
                    assertNull(report.failure());
                    assertEquals(3, report.answers().size());
                    report.answers().forEach(answer -> assertEquals(RIGHT, answer.answer()));
                }
                EvaluationReport next = evaluation.run(engine, device, rank, 2);
                assertNull(next.failure());
                assertTrue(Double.isFinite(next.loss()));
            }
            return null;
        });
        for (int i = 0; i < plain.length; i++) {
            assertEquals(plain[i], found[i], "loss of step " + (i + 1));
        }
    }

    private static void write(float[] values, Tensor to) {
        HostBytes.view(to.address(), to.bytes()).asFloatBuffer().put(values);
    }

    /** Losses of two ranks' steps after something else. */
    private double[] stepsAfter(int stage, Work<Void> before) throws Exception {
        JobConfig job = job(5);
        return withEngines(2, stage, (rank, engine, device) -> {
                    TrainingData data = TrainingData.load(job, config);
                    before.run(rank, engine, device);
                    double[] losses = new double[3];
                    for (int step = 1; step <= losses.length; step++) {
                        StepInput input = data.share(step, 2, rank, 1e-3);
                        losses[step - 1] = engine.step(input).loss();
                    }
                    return losses;
                })
                .get(0);
    }
}
