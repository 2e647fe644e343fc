package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Methods, adapters and data that do not fit: one clear line each, before anything is trained. */
@Timeout(120)
class BadMethodIT {
    @TempDir
    Path directory;

    private CleanRoom room;
    private Path job;

    @BeforeEach
    void open() throws Exception {
        room = new CleanRoom(directory);
        job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
    }

    @AfterEach
    void close() {
        room.close();
    }

    private void refused(int status, String method, List<String> parts, String... settings) throws Exception {
        Path own = Files.writeString(directory.resolve("own.yaml"), Files.readString(job) + "method: " + method + "\n");
        String[] arguments = Stream.concat(
                        Stream.of("--config", own.toString()),
                        Stream.of(settings).flatMap(s -> Stream.of("--set", s)))
                .toArray(String[]::new);
        room.refused(status, parts, "start.sh", arguments);
        room.assertNothingLeft(room.output);
    }

    private static String adapter(String name) {
        return "model.adapter=" + TinyJob.shared("fixtures/tiny-chatglm3/" + name);
    }

    @Test
    void adaptersThatDoNotFitTheModelOrTheMethod() throws Exception {
        String lora = "{type: lora, rank: 8, alpha: 32, targets: [query_key_value]}";
        refused(
                1,
                "{type: lora, rank: 4, alpha: 32, targets: [query_key_value]}",
                List.of("model.adapter", "rank 8", "rank 4"),
                adapter("lora-qkv"));
        refused(1, "{type: p_tuning}", List.of("model.adapter", "another method"), adapter("lora-qkv"));
        refused(
                1,
                lora,
                List.of("model.adapter", "does not fit the model", "lora_A"),
                adapter("lora-qkv"),
                "model.path=" + TinyJob.shared("fixtures/stories260k"),
                "method.targets=[q_proj]");
        refused(1, "{type: lora, targets: [q_proj]}", List.of("method.targets", "q_proj", "query_key_value"));
    }

    @Test
    void evaluationFilesWithoutAnswers() throws Exception {
        Path eval = Files.writeString(
                directory.resolve("eval.jsonl"),
                "{\"input_ids\": [1, 2], \"labels\": [-100, 2]}\n{\"input_ids\": [1, 2]}\n");
        room.refused(
                1,
                List.of(eval + ":2: `labels` is missing"),
                "shardloom",
                "validate",
                "--config",
                job.toString(),
                "--set",
                "data.eval=" + eval,
                "--set",
                "evaluation.every_steps=5");
        String text = room.run("start.sh", TinyJob.with(job, "data.eval=" + eval, "evaluation.every_steps=5"))
                .expect(1)
                .output();
        CleanRoom.assertSays(text, List.of("failed: " + eval + ":2: `labels` is missing"));
        assertEquals(1, text.lines().filter(l -> l.contains("labels")).count(), text);
        assertEquals(List.of(), Commands.metrics(room.output));
        room.assertNothingLeft(room.output);
        room.refused(
                2,
                List.of("evaluation.every_steps needs data.eval"),
                "start.sh",
                "--config",
                job.toString(),
                "--set",
                "evaluation.every_steps=5");
    }

    /** A job of ChatGLM3-6B's shape and tokenizer: enough to read text. */
    private String[] ofText(String format, Path train, String... settings) throws Exception {
        Path own = Files.writeString(
                directory.resolve("text.yaml"),
                """
                model: {path: %s, init: random}
                tokenizer: %s
                data: {train: [%s], format: %s, max_length: 256}
                train: {global_batch_size: 1}
                output_dir: %s
                """
                        .formatted(
                                TinyJob.shared("facts/models/chatglm3-6b"),
                                TinyJob.shared("fixtures/tokenizers/chatglm3"),
                                train,
                                format,
                                room.output));
        return Stream.concat(
                        Stream.of("validate", "--config", own.toString(), "--data", "1"),
                        Stream.of(settings).flatMap(s -> Stream.of("--set", s)))
                .toArray(String[]::new);
    }

    @Test
    void anAlpacaFileOfEvaluationSamplesWithoutAnOutput() throws Exception {
        String good = "{\"instruction\": \"你好\", \"output\": \"hello\"}\n";
        Path train = Files.writeString(directory.resolve("alpaca.jsonl"), good);
        Path eval = Files.writeString(
                directory.resolve("eval.jsonl"), good + "{\"instruction\": \"你好\", \"input\": \"\"}\n");
        String[] evaluated =
                ofText("alpaca", train, "data.eval=" + eval, "evaluation.every_steps=1", "evaluation.metrics=[rouge]");
        room.refused(1, List.of(eval + ":2: `output` is missing"), "shardloom", evaluated);
        Files.writeString(eval, good);
        CleanRoom.assertSays(room.run("shardloom", evaluated).expect(0).output(), List.of("the job is valid"));
        // Nothing but an answer's end may be what is to be learned, but no answer is like it.
        Files.writeString(eval, good + good.replace("hello", ""));
        Files.copy(eval, train, StandardCopyOption.REPLACE_EXISTING);
        CleanRoom.assertSays(
                room.run("shardloom", evaluated).expect(0).output(),
                List.of("data: 2 samples", "answers to 2, 1 of them with an empty reference", "the job is valid"));
    }

    /** As chatglm-6b-int4 has it. */
    @Test
    void modelsWhoseFilesAreQuantised() throws Exception {
        Path model = Files.createDirectories(directory.resolve("int4"));
        String config = Files.readString(TinyJob.model("tiny-chatglm3").resolve("config.json"));
        Files.writeString(model.resolve("config.json"), config.replaceFirst("\\{", "{\"quantization_bit\": 4, "));
        Files.write(model.resolve("pytorch_model.bin"), new byte[] {0});
        refused(
                1,
                "{type: full}",
                List.of(model + "/config.json", "quantised (quantization_bit: 4)", "method.type qlora"),
                "model.path=" + model);
        assertFalse(Files.exists(room.output), "something was started");
    }

    @Test
    void toolCallsOfChatglm3ThatAreMalformed() throws Exception {
        String line =
                "{\"tools\": [{\"name\": \"w\"}], \"conversations\": [{\"role\": \"user\", \"content\": \"北京天气\"},"
                        + " {\"role\": \"tool\", %s}, {\"role\": \"assistant\", \"content\": \"3度\"}]}\n";
        String good = "\"name\": \"w\", \"parameters\": {\"city\": \"北京\"}, \"observation\": 3";
        Path data = directory.resolve("tools.jsonl");
        String[] job = ofText("chatglm3", data);
        for (String[] change : new String[][] {
            {"{\"city\": \"北京\"}", "\"北京\"", "`conversations[1].parameters` must be an object, not a string"},
            {"\"name\": \"w\", ", "", "`conversations[1].name` is missing"},
            {", \"observation\": 3", "", "`conversations[1].observation` is missing"}
        }) {
            String bad = good.replace(change[0], change[1]);
            Files.writeString(data, line.formatted(good) + line.formatted(bad));
            room.refused(1, List.of(data + ":2: " + change[2]), "shardloom", job);
        }
        Files.writeString(data, line.formatted(good));
        CleanRoom.assertSays(room.run("shardloom", job).expect(0).output(), List.of("the job is valid"));
    }

    @Test
    void adaptersOfAnotherModelAreNeitherUsedNorMerged() throws Exception {
        Path adapter = TinyJob.shared("fixtures/tiny-chatglm3/lora-all");
        Path merged = directory.resolve("merged");
        // One has other modules, the other modules of these names elsewhere and in other sizes.
        Path llama = TinyJob.shared("fixtures/stories260k");
        Path first = TinyJob.shared("fixtures/tiny-chatglm1/safetensors-fp32");
        List<String> modules = List.of(
                adapter + " does not fit the model in " + llama + ": the model has no module query_key_value",
                "q_proj");
        List<String> tensors = List.of(
                adapter + " does not fit the model with this method: missing: ",
                "transformer.layers.0.attention.query_key_value.lora_A.weight [8, 64]; extra: ",
                "and 46 more");
        for (Path base : List.of(llama, first)) {
            List<String> parts = base.equals(llama) ? modules : tensors;
            room.refused(
                    1,
                    parts,
                    "shardloom",
                    "generate",
                    "--model",
                    adapter.toString(),
                    "--base",
                    base.toString(),
                    "--prompt",
                    "x");
            room.refused(
                    1,
                    parts,
                    "shardloom",
                    "merge",
                    "--adapter",
                    adapter.toString(),
                    "--base",
                    base.toString(),
                    "--output",
                    merged.toString());
            assertFalse(Files.exists(merged), "something was written");
        }
    }

    @Test
    void anAdapterWhoseOnlyStepHadNoLearningRate() throws Exception {
        Path own = Files.writeString(
                directory.resolve("short.yaml"),
                Files.readString(job)
                                .replaceFirst("schedule: .*", "schedule: {type: cosine}")
                                .replaceFirst("max_steps: 20", "max_steps: 1")
                        + "method: {type: lora}\n");
        String text = room.run("start.sh", "--config", own.toString()).expect(0).output();
        CleanRoom.assertSays(
                text,
                List.of(
                        "warning: nothing will be trained: the learning rate is 0 in every step",
                        "done: 1 steps",
                        "nothing was trained: the learning rate was 0 in every step",
                        "train.schedule.type: constant"));
        assertTrue(Files.exists(room.output.resolve("final/base_model.json")));
        room.refused(
                1,
                List.of(
                        "changes nothing",
                        "trained with a learning rate of 0, as " + room.output + "/metrics.jsonl",
                        "train.max_steps"),
                "shardloom",
                "merge",
                "--adapter",
                room.output + "/final",
                "--output",
                directory + "/merged");
        assertFalse(Files.exists(directory.resolve("merged")), "something was written");
    }

    @Test
    void biasesThatWouldBeTrained() throws Exception {
        refused(
                2,
                "{type: lora, bias: all}",
                List.of("own.yaml:", "method.bias: only none is supported", "not \"all\""));
    }

    @Test
    void optionsThatDoNotGoTogether() throws Exception {
        refused(
                2,
                "{type: full, quantization: nf4}",
                List.of("unknown key 'method.quantization'", "'full' has no options"));
        refused(1, "{type: p_tuning_v2, prefix_length: 4096}", List.of("method.prefix_length is 4096", "positions"));
        refused(1, "{type: p_tuning, virtual_tokens: 4096}", List.of("method.virtual_tokens is 4096", "positions"));
    }
}
