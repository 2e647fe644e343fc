package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JobPreflightTest {
    private static final String JOB = "model:\n  path: glm\ndata:\n  train: train.jsonl\noutput_dir: a/b/out\n";

    @TempDir
    Path directory;

    @BeforeEach
    void aHostWithAModelAndData() throws IOException {
        Files.createDirectory(directory.resolve("glm"));
        Files.writeString(directory.resolve("glm/config.json"), "{}");
        Files.writeString(directory.resolve("glm/model.safetensors"), "x");
        Files.writeString(directory.resolve("train.jsonl"), "{}\n");
        Files.createDirectory(directory.resolve("empty"));
        Files.writeString(directory.resolve("nothing.jsonl"), "");
    }

    private List<String> problems(String yaml) throws IOException {
        Path file = Files.writeString(directory.resolve("job.yaml"), yaml);
        return JobPreflight.check(JobFile.load(file, List.of())).stream()
                .map(problem -> problem.toString().replace(directory + "/", ""))
                .toList();
    }

    @Test
    void aJobWhoseFilesAreThereIsFineAndNothingIsCreated() throws IOException {
        assertEquals(List.of(), problems(JOB));
        assertFalse(Files.exists(directory.resolve("a")));
    }

    @Test
    void missingFilesAreNamedWithTheirLines() throws IOException {
        assertEquals(
                List.of(
                        "job.yaml:2: model.path: there is no directory absent",
                        "job.yaml:6: tokenizer: not a directory: train.jsonl",
                        "job.yaml:4: data.train: there is no file absent.jsonl",
                        "job.yaml:4: data.train: not a file: glm",
                        "job.yaml:4: data.train: empty: nothing.jsonl",
                        "job.yaml:5: output_dir: can't be created, because this is not a directory: train.jsonl"),
                problems(JOB.replace("path: glm", "path: absent")
                                .replace("train: train.jsonl", "train: [absent.jsonl, glm, nothing.jsonl]")
                                .replace("a/b/out", "train.jsonl/out")
                        + "tokenizer: train.jsonl\n"));
    }

    @Test
    void aModelNeedsItsConfigurationAndUnlessItIsNewItsWeights() throws IOException {
        String empty = JOB.replace("path: glm", "path: empty");
        assertEquals(
                List.of(
                        "job.yaml:2: model.path: no readable config.json in empty",
                        "job.yaml:2: model.path: no weights (*.safetensors, *.bin) in empty; for a new model set model.init: random"),
                problems(empty));
        assertEquals(
                List.of("job.yaml:2: model.path: no readable config.json in empty"),
                problems(empty.replace("model:\n", "model:\n  init: random\n")).stream()
                        .map(line -> line.replace(":3:", ":2:"))
                        .toList());
    }

    @Test
    void pretokenizedDataNeedsNoTokenizer() throws IOException {
        assertEquals(
                List.of(), problems(JOB.replace("data:\n", "data:\n  format: pretokenized\n") + "tokenizer: absent\n"));
    }

    @Test
    void withoutAFileProblemsNameOnlyTheSource() throws IOException {
        JobConfig config = Jobs.parse(Jobs.MINIMAL);
        assertEquals(
                "run: model.path: there is no directory /models/glm",
                JobPreflight.check(config, "run").get(0).toString());
    }
}
