package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JobOverridesTest {

    @Test
    void anOverrideReplacesTheFilesValueAndTheLaterOneCounts() {
        JobConfig config =
                Jobs.with("train: {learning_rate: 1e-3}", "train.learning_rate=5e-5", "train.learning_rate=6e-5");
        assertEquals(6e-5, config.train().learningRate());
    }

    @Test
    void anOverrideMayBeAListOrAWholeSection() {
        JobConfig config = Jobs.with(
                "zero: {offload_optimizer: false}",
                "data.train=[/a, /b]",
                "zero={stage: 2}",
                "train.optimizer.betas=[0.5, 0.6]");
        assertEquals(List.of(Path.of("/a"), Path.of("/b")), config.data().train());
        assertEquals(new ZeroConfig(2, false, false, true), config.zero());
        assertEquals(0.6, config.train().optimizer().beta2());
    }

    @Test
    void anEmptyOverrideRestoresTheDefault() {
        String file = "train: {seed: 7, learning_rate: 1}\n";
        assertEquals(1234, Jobs.with(file, "train.seed=").train().seed());
        assertEquals(1234, Jobs.with(file, "train.seed=null").train().seed());
        assertEquals(Jobs.parse(Jobs.MINIMAL), Jobs.with(file, "train="));
    }

    @Test
    void anOverrideOfOneAlternativeReplacesTheFilesOther() {
        TrainConfig train = Jobs.with(
                        "train: {epochs: 3, schedule: {warmup_ratio: 0.1}}",
                        "train.max_steps=5",
                        "train.schedule.warmup_steps=2")
                .train();
        assertEquals(0, train.epochs());
        assertEquals(5, train.maxSteps());
        assertEquals(new ScheduleConfig(ScheduleConfig.Type.LINEAR, 2, 0), train.schedule());
    }

    @Test
    void clearingOneAlternativeKeepsTheFilesOther() {
        assertEquals(
                5, Jobs.with("train: {max_steps: 5}", "train.epochs=").train().maxSteps());
    }

    @Test
    void twoAlternativesAmongTheOverridesAreAContradiction() {
        assertEquals(
                "--set train.max_steps=5: train.epochs and train.max_steps are both set; keep one of them",
                Jobs.refusedWith("", "train.epochs=1", "train.max_steps=5"));
    }

    @Test
    void badOverridesAreReportedAsTheyWereWritten() {
        assertEquals("--set workers: expected key=value", Jobs.refusedWith("", "workers"));
        assertEquals("--set =4: expected key=value", Jobs.refusedWith("", "=4"));
        assertEquals(
                "--set workers=x: workers: expected a positive integer, found 'x'", Jobs.refusedWith("", "workers=x"));
        assertEquals(
                "--set workers.x=1: 'workers' takes a value, it has no keys inside",
                Jobs.refusedWith("", "workers.x=1"));
        assertEquals(
                "--set trian.seed=1: unknown key 'trian' - did you mean 'train'?",
                Jobs.refusedWith("", "trian.seed=1"));
        String unclosed = Jobs.refusedWith("", "data.train=[a");
        assertEquals("--set data.train=[a: not valid YAML", unclosed.substring(0, 35), unclosed);
    }

    @Test
    void pathsStartFromTheJobFileOrForOverridesFromTheWorkingDirectory(@TempDir Path directory) throws IOException {
        Path file = directory.resolve("job.yaml");
        Files.writeString(file, "model: {path: ../glm}\ndata: {train: [a.jsonl, /b.jsonl]}\noutput_dir: ./out\n");
        JobConfig config = JobFile.load(file, List.of("tokenizer=tok")).config();
        assertEquals(directory.getParent().resolve("glm"), config.model().path());
        assertEquals(
                List.of(directory.resolve("a.jsonl"), Path.of("/b.jsonl")),
                config.data().train());
        assertEquals(directory.resolve("out"), config.outputDir());
        assertEquals(Path.of("tok").toAbsolutePath(), config.tokenizer());
    }
}
