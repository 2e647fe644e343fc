package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.worker.checkpoint.CheckpointException;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;

/** Whole runs by sessions alone: started, grown, shrunk, saved and resumed. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class SessionTest {
    @TempDir
    Path directory;

    private static List<StepReport> undisturbed(JobConfig job) throws Exception {
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0);
            return crew.stepsTo(12);
        }
    }

    private static void assertEqualRuns(List<StepReport> expected, List<StepReport> actual, double tolerance) {
        assertEquals(expected.size(), actual.size());
        for (int i = 0; i < expected.size(); i++) {
            StepReport e = expected.get(i);
            StepReport a = actual.get(i);
            assertEquals(e.loss(), a.loss(), tolerance, "loss of step " + (i + 1));
            assertEquals(e.gradNorm(), a.gradNorm(), 100 * tolerance, "norm of step " + (i + 1));
            assertEquals(e.learningRate(), a.learningRate(), "rate of step " + (i + 1));
            assertEquals(e.epoch(), a.epoch(), "epoch of step " + (i + 1));
        }
    }

    @ParameterizedTest
    @CsvSource({"2,token", "3,token", "3,micro_batch"})
    void workersComeAndGoAndTheLossesAreThoseOfAnUndisturbedRun(int stage, String reduction) throws Exception {
        JobConfig job = Jobs.write(directory, "zero.stage=" + stage, "train.loss_reduction=" + reduction);
        List<StepReport> expected = undisturbed(job);
        List<StepReport> reports = new ArrayList<>();
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0, 1, 2, 3);
            reports.addAll(crew.stepsTo(3));
            crew.start(Origin.RESHARD, "", 1, 3);
            reports.addAll(crew.stepsTo(6));
            crew.start(Origin.RESHARD, "", 4, 1, 3);
            reports.addAll(crew.stepsTo(9));
            crew.start(Origin.RESHARD, "", 4);
            reports.addAll(crew.stepsTo(12));
            TrainingState state = crew.state();
            assertEquals(new TrainingState(12, 12, 1, 0, state.guard()), state);
            assertEquals(12, state.guard().steps(), "the guard knows the steps of all generations");
            assertTrue(state.guard().lowLoss() > 0
                    && state.guard().lowLoss() <= 1.1 * reports.get(11).loss());
        }
        assertEqualRuns(expected, reports, 1e-6 * expected.get(0).loss());
        assertTrue(reports.get(11).loss() < reports.get(0).loss());
    }

    @ParameterizedTest
    @CsvSource({"fp32,1e-5", "bf16,0.03", "fp16,0.03"})
    void aRunResumedFromACheckpointByOtherWorkersGoesOnTheSame(String precision, double tolerance) throws Exception {
        JobConfig job = Jobs.write(directory, "precision=" + precision, "gradient_checkpointing=true");
        List<StepReport> expected = undisturbed(job);
        List<StepReport> reports = new ArrayList<>();
        Path checkpoint;
        TrainingState saved;
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0, 1, 2);
            reports.addAll(crew.stepsTo(5));
            checkpoint = crew.save(directory.resolve("checkpoint-5"));
            saved = crew.state();
            assertEquals(precision.equals("fp16") ? 5 : 0, saved.goodSteps());
            crew.stepsTo(7);
            // The same workers go back to it, as after the loss of another worker.
            crew.start(Origin.CHECKPOINT, checkpoint.toString(), 0, 1);
            assertEquals(saved, crew.state());
            crew.stepsTo(6);
        }
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.CHECKPOINT, checkpoint.toString(), 7, 9);
            assertEquals(saved, crew.state());
            reports.addAll(crew.stepsTo(12));
        }
        assertEqualRuns(expected, reports, tolerance);
    }

    @Test
    void aRandomModelStartsTheSameOnAnyNumberOfWorkers() throws Exception {
        JobConfig job = Jobs.write(directory, "model.init=random");
        List<StepReport> expected = undisturbed(job);
        assertEquals(Math.log(512), expected.get(0).loss(), 0.1);
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0, 1, 2);
            assertEqualRuns(expected, crew.stepsTo(12), 1e-5);
        }
    }

    @Test
    void qloraWithoutQuantizationIsLora() throws Exception {
        List<StepReport> lora = undisturbed(Jobs.write(directory, "method.type=lora", "method.rank=4"));
        List<StepReport> none =
                undisturbed(Jobs.write(directory, "method.type=qlora", "method.rank=4", "method.quantization=none"));
        assertEqualRuns(lora, none, 0);
        List<StepReport> nf4 = undisturbed(Jobs.write(directory, "method.type=qlora", "method.rank=4"));
        assertNotEquals(lora.get(0).loss(), nf4.get(0).loss(), 1e-6, "by default it quantises");
    }

    @Test
    void theExportIsInTheTrainingDtype() throws Exception {
        JobConfig job = Jobs.write(directory, "precision=bf16");
        Path target = directory.resolve("out/final");
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0, 1);
            crew.stepsTo(1);
            crew.export(crew.save(directory.resolve("checkpoint-1")), target);
        }
        try (TensorSource weights = WeightsDirectory.open(target)) {
            String frequencies = "transformer.rotary_pos_emb.inv_freq";
            weights.tensors()
                    .values()
                    .forEach(t -> assertEquals(
                            t.name().equals(frequencies) ? WeightDtype.F32 : WeightDtype.BF16, t.dtype(), t.name()));
            assertEquals(1f, weights.readAll(frequencies)[0]);
        }
        assertTrue(Files.exists(target.resolve("config.json")));
    }

    @Test
    void theReportedPeakIsThatOfTheGenerationAndFallsWithTheNumberOfWorkers() throws Exception {
        JobConfig job = Jobs.write(directory);
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0);
            long alone = last(crew.stepsTo(3)).devicePeakBytes();
            crew.start(Origin.RESHARD, "", 0, 1, 2, 3);
            long ofFour = last(crew.stepsTo(6)).devicePeakBytes();
            assertTrue(ofFour < 0.7 * alone, "alone " + alone + " bytes, as one of four " + ofFour);
            Path checkpoint = crew.save(directory.resolve("checkpoint-6"));
            crew.start(Origin.CHECKPOINT, checkpoint.toString(), 0);
            assertEquals(alone, last(crew.stepsTo(9)).devicePeakBytes(), 0.3 * alone);
            crew.start(Origin.CHECKPOINT, checkpoint.toString(), 0, 1, 2, 3);
            assertEquals(ofFour, last(crew.stepsTo(9)).devicePeakBytes(), 0.3 * ofFour);
        }
    }

    private static StepReport last(List<StepReport> reports) {
        return reports.get(reports.size() - 1);
    }

    @Test
    void aFailedStartLeavesTheWorkersReadyForAnother() throws Exception {
        JobConfig job = Jobs.write(directory);
        List<StepReport> expected = undisturbed(job);
        try (Crew crew = new Crew(job)) {
            Path missing = directory.resolve("checkpoint-99");
            Exception e = assertThrows(Exception.class, () -> crew.start(Origin.CHECKPOINT, missing.toString(), 0, 1));
            assertTrue(e instanceof CheckpointException && e.getMessage().contains("checkpoint-99"), e.toString());
            // What an actor does before every new generation: it reaches for a group that is closed by now.
            crew.abort("a new generation begins");
            crew.start(Origin.START, "", 0, 1);
            assertEqualRuns(expected.subList(0, 3), crew.stepsTo(3), 1e-5);
        }
    }

    @Test
    void anAbortEndsAStepThatWaitsForAnotherWorker() throws Exception {
        JobConfig job = Jobs.write(directory);
        try (Crew crew = new Crew(job)) {
            crew.start(Origin.START, "", 0, 1);
            long started = System.nanoTime();
            Exception e = assertThrows(Exception.class, () -> crew.stepOfOne(1));
            assertTrue(e.toString().contains("abort") || e.toString().contains("gone"), e.toString());
            assertTrue(System.nanoTime() - started < 20e9);
            crew.start(Origin.START, "", 0, 1);
            crew.stepsTo(1);
        }
    }
}
