package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What is wrong with a job, a model, data or a checkpoint is told in one line, before training begins. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class BadInputIT {
    private static final String SHARD = "shard-00001-of-00002.safetensors";

    @TempDir
    Path directory;

    private CleanRoom room;
    private Path job;

    @BeforeEach
    void open() throws IOException {
        room = new CleanRoom(directory);
        job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
    }

    @AfterEach
    void close() {
        room.close();
    }

    /** The job does not validate, with this line; no file of a run appears. */
    private void invalid(int status, List<String> parts, String... settings) throws Exception {
        room.refused(status, parts, "shardloom", arguments("validate", settings));
    }

    private String[] arguments(String first, String... settings) {
        Stream<String> overrides = Stream.of(settings).flatMap(s -> Stream.of("--set", s));
        Stream<String> head = Stream.of(first, "--config", job.toString()).filter(s -> !s.isEmpty());
        return Stream.concat(head, overrides).toArray(String[]::new);
    }

    private Path rewritten(String from, String to) throws IOException {
        String text = Files.readString(job);
        assertTrue(text.contains(from), from);
        return Files.writeString(directory.resolve("bad.yaml"), text.replace(from, to));
    }

    private Path modelWith(String configFrom, String configTo) throws IOException {
        Path target = copy(TinyJob.model("tiny-chatglm3"), directory.resolve("model"));
        Path config = target.resolve("config.json");
        String text = Files.readString(config);
        assertTrue(text.contains(configFrom), configFrom);
        Files.writeString(config, text.replace(configFrom, configTo));
        return target;
    }

    /** A copy that may be written to; replaces what was there. */
    private static Path copy(Path source, Path target) throws IOException {
        Files.createDirectories(target);
        try (Stream<Path> old = Files.list(target);
                Stream<Path> files = Files.list(source)) {
            for (Path file : old.toList()) {
                Files.delete(file);
            }
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.write(target.resolve(file.getFileName()), Files.readAllBytes(file));
            }
        }
        return target;
    }

    @Test
    void aJobFilesMistakesAreNamedWithFileLineAndNearestKey() throws Exception {
        Path unknown = rewritten("learning_rate: 1e-3", "learning_rat: 1e-3");
        room.refused(
                2,
                List.of("bad.yaml:11:", "unknown key 'train.learning_rat'", "did you mean 'train.learning_rate'?"),
                "start.sh",
                "--config",
                unknown.toString());
        Path wrongType = rewritten("max_steps: 20", "max_steps: many");
        room.refused(
                2,
                List.of("bad.yaml:8:", "train.max_steps", "expected a positive integer", "'many'"),
                "start.sh",
                "--config",
                wrongType.toString());
        room.refused(
                2,
                List.of("--set train.learning_rat=1", "'train.learning_rate'"),
                "start.sh",
                arguments("", "train.learning_rat=1"));
        room.refused(2, List.of("nothing.yaml", "no such file"), "start.sh", "--config", directory + "/nothing.yaml");
        assertFalse(Files.exists(room.output));
    }

    @Test
    void whatTheJobAsksForButCannotHaveIsRefused() throws Exception {
        invalid(
                2,
                List.of("zero.offload_params", "out of a GPU's memory", "leave it false"),
                "zero.offload_params=true",
                "device=cpu");
        invalid(2, List.of("cluster.host", "0.0.0.0", "cluster.insecure: true"), "cluster.host=0.0.0.0");
        invalid(2, List.of("model.path", "no directory /nowhere"), "model.path=/nowhere");
        room.refused(
                2,
                List.of("output_dir", "not a directory: " + job),
                "start.sh",
                arguments("", "output_dir=" + job + "/output"));
        assertFalse(Files.exists(room.output));
    }

    @Test
    void weightsThatDoNotFitAreListedBeforeAnythingStarts() throws Exception {
        Path model = modelWith("\"num_layers\": 3", "\"num_layers\": 4");
        String text = room.run("start.sh", arguments("", "model.path=" + model))
                .expect(1)
                .output();
        CleanRoom.assertSays(
                text, List.of("weights do not fit the model", "missing: transformer.encoder.layers.3.", "[64]"));
        modelWith("\"num_layers\": 3", "\"num_layers\": 2");
        text = room.run("shardloom", arguments("validate", "model.path=" + model))
                .expect(1)
                .output();
        CleanRoom.assertSays(text, List.of("extra: transformer.encoder.layers.2."));
        modelWith("\"padded_vocab_size\": 512", "\"padded_vocab_size\": 600");
        text = room.run("shardloom", arguments("validate", "model.path=" + model))
                .expect(1)
                .output();
        CleanRoom.assertSays(
                text,
                List.of("shape: transformer.embedding.word_embeddings.weight is [512, 64]", "asks for [600, 64]"));
        modelWith("\"num_layers\": 3", "\"num_layers\": 3");
        Path weights = model.resolve("model-00001-of-00002.safetensors");
        Files.write(weights, java.util.Arrays.copyOf(Files.readAllBytes(weights), 100_000));
        room.refused(
                1,
                List.of(weights.toString(), "the file is truncated"),
                "start.sh",
                arguments("", "model.path=" + model));
        assertFalse(Files.exists(room.output));
    }

    @Test
    void aPickleThatAsksForACommandIsRefusedAndNothingRuns() throws Exception {
        Path model = Files.createDirectories(directory.resolve("evil"));
        Files.copy(TinyJob.model("tiny-chatglm3").resolve("config.json"), model.resolve("config.json"));
        Path proof = directory.resolve("it-was-run");
        byte[] pickle = ("cos\nsystem\n(S'touch " + proof + "'\ntR.").getBytes(StandardCharsets.US_ASCII);
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(model.resolve("pytorch_model.bin")))) {
            stored(zip, "archive/data.pkl", pickle);
            stored(zip, "archive/version", "3\n".getBytes(StandardCharsets.US_ASCII));
        }
        invalid(1, List.of("pytorch_model.bin", "os.system"), "model.path=" + model);
        room.refused(1, List.of("pytorch_model.bin", "os.system"), "start.sh", arguments("", "model.path=" + model));
        assertFalse(Files.exists(proof), "the pickle's command was run");
    }

    private static void stored(ZipOutputStream zip, String name, byte[] bytes) throws IOException {
        ZipEntry entry = new ZipEntry(name);
        CRC32 crc = new CRC32();
        crc.update(bytes);
        entry.setMethod(ZipEntry.STORED);
        entry.setSize(bytes.length);
        entry.setCrc(crc.getValue());
        zip.putNextEntry(entry);
        zip.write(bytes);
        zip.closeEntry();
    }

    private Path data(String... lines) throws IOException {
        return Files.write(directory.resolve("data.jsonl"), List.of(lines));
    }

    @Test
    void dataThatCannotBeLearnedFromIsNamedOrCounted() throws Exception {
        String good = "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}";
        String late = "{\"input_ids\": [1, 2, 3, 4, 5, 6], \"labels\": [-100, -100, -100, -100, 5, 6]}";
        Path data = data(good, good, "{\"input_ids\": [1, 2,");
        invalid(1, List.of(data + ":3:", "not valid JSON"), "data.train=[" + data + "]");
        String text = room.run("start.sh", arguments("", "data.train=[" + data + "]"))
                .expect(1)
                .output();
        CleanRoom.assertSays(text, List.of("failed: " + data + ":3:", "not valid JSON"));
        assertFalse(text.contains("training"), text);
        assertEquals(List.of(), Commands.metrics(room.output));
        room.assertNothingLeft(room.output);

        data(good, "{\"input_ids\": [1, 512], \"labels\": [1, 512]}");
        invalid(1, List.of(data + ":2:", "token id 512", "vocabulary of 512"), "data.train=[" + data + "]");

        data(good, late);
        text = room.run(
                        "start.sh",
                        arguments("", "data.train=[" + data + "]", "data.max_length=4", "train.max_steps=2"))
                .expect(0)
                .output();
        CleanRoom.assertSays(text, List.of("1 samples", "1 skipped with nothing to learn", "done: 2 steps"));
        data(late);
        invalid(
                1,
                List.of("no sample remains", "1 have nothing to learn", "raise data.max_length"),
                "data.train=[" + data + "]",
                "data.max_length=4");
    }

    @Test
    void aPatternThatExemptsNothingFromDecayIsNamed() throws Exception {
        invalid(
                1,
                List.of("train.optimizer.no_decay", "'gamma'", "layers.N."),
                "train.optimizer.no_decay=[norm, gamma]");
    }

    @Test
    void aDamagedOrForeignCheckpointIsNotResumed() throws Exception {
        room.refused(
                2,
                List.of("no complete checkpoint in " + room.output),
                "start.sh",
                "--config",
                job.toString(),
                "--resume",
                "latest");
        room.run("start.sh", arguments("", "train.max_steps=2")).expect(0);
        Path whole = room.output.resolve("checkpoint-2");
        room.refused(
                1,
                List.of(room.output + " already holds checkpoints", "--resume latest", "another output_dir"),
                "start.sh",
                arguments(""));

        Path broken = copy(whole, directory.resolve("broken"));
        Files.delete(broken.resolve(SHARD));
        refusedToResume(broken, "shard " + SHARD + " is missing");
        copy(whole, broken);
        flip(broken.resolve("manifest.pb"), 3); // a step number that parses
        refusedToResume(broken, "corrupted: manifest.pb and manifest.json do not say the same");
        copy(whole, broken);
        Files.write(broken.resolve("manifest.pb"), new byte[] {(byte) 0xff, 1, 2});
        refusedToResume(broken, "manifest.pb is corrupted");
        copy(whole, broken);
        Path other = modelWith("\"num_layers\": 3", "\"num_layers\": 2");
        refusedToResume(broken, "checkpoint of another model", "--set", "model.path=" + other);
        refusedToResume(whole, "train.seed 1234, the job has 7", "--set", "train.seed=7");

        Path data = Files.writeString(
                directory.resolve("more.jsonl"),
                Files.readString(TinyJob.file("tiny-chatglm3", "train.jsonl"))
                        + "{\"input_ids\": [1, 2, 3], \"labels\": [1, 2, 3]}\n");
        failsToResume(
                whole,
                directory.resolve("other-data"),
                "was trained on other samples",
                "--set",
                "data.train=[" + data + "]");

        Path shard = broken.resolve(SHARD);
        flip(shard, (int) Files.size(shard) - 9);
        failsToResume(broken, directory.resolve("damaged"), "failed: " + shard + " is corrupted: its checksum");
    }

    /** Found by the workers, before the first step. */
    private void failsToResume(Path checkpoint, Path elsewhere, String why, String... more) throws Exception {
        Stream<String> arguments = Stream.of(
                "--config", job.toString(), "--resume", checkpoint.toString(), "--set", "output_dir=" + elsewhere);
        String text = room.run(
                        "start.sh", Stream.concat(arguments, Stream.of(more)).toArray(String[]::new))
                .expect(1)
                .output();
        CleanRoom.assertSays(text, List.of(why));
        assertEquals(List.of(), Commands.metrics(elsewhere));
        room.assertNothingLeft(elsewhere);
    }

    private void refusedToResume(Path checkpoint, String why, String... more) throws Exception {
        Path elsewhere = directory.resolve("elsewhere");
        Stream<String> arguments = Stream.of(
                "--config", job.toString(), "--resume", checkpoint.toString(), "--set", "output_dir=" + elsewhere);
        room.refused(
                1,
                List.of(checkpoint.toString(), why),
                "start.sh",
                Stream.concat(arguments, Stream.of(more)).toArray(String[]::new));
        assertFalse(Files.exists(elsewhere), "something was started");
    }

    private static void flip(Path file, int at) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        bytes[at] ^= 1;
        Files.write(file, bytes);
    }
}
