package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What {@code shardloom validate} says about jobs that are right. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class ValidateIT {
    @TempDir
    Path directory;

    private CleanRoom room;

    @BeforeEach
    void open() throws Exception {
        room = new CleanRoom(directory);
    }

    @AfterEach
    void close() {
        room.close();
    }

    private List<String> validate(Path job, String... more) throws Exception {
        String[] arguments = new String[more.length + 3];
        arguments[0] = "validate";
        arguments[1] = "--config";
        arguments[2] = job.toString();
        System.arraycopy(more, 0, arguments, 3, more.length);
        return room.run("shardloom", arguments).expect(0).output().lines().toList();
    }

    /** A job of a published model's shape, without its weights. */
    private Path publishedModel(String model, String tokenizer) throws Exception {
        Path data = Files.writeString(
                directory.resolve("tools.jsonl"),
                "{\"tools\":[{\"name\":\"w\"}],\"conversations\":[{\"role\":\"user\",\"content\":\"北京天气\"},"
                        + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":{\"city\":\"北京\"},\"observation\":{\"t\":3}},"
                        + "{\"role\":\"assistant\",\"content\":\"3度\"}]}\n"
                        + "{\"conversations\":[{\"role\":\"user\",\"content\":\"你好\"},"
                        + "{\"role\":\"assistant\",\"content\":\"hello\"}]}\n");
        return Files.writeString(
                directory.resolve("job.yaml"),
                """
                model: {path: %s, init: random}
                tokenizer: %s
                data: {train: [%s], format: chatglm3, max_length: 256}
                train: {global_batch_size: 1}
                output_dir: %s
                """
                        .formatted(
                                TinyJob.shared("facts/models/" + model),
                                TinyJob.shared("fixtures/tokenizers/" + tokenizer),
                                data,
                                room.output));
    }

    @Test
    void samplesAreShownAsTokensWithTheLearnedPartMarked() throws Exception {
        List<String> lines = validate(publishedModel("chatglm3-6b", "chatglm3"), "--data", "5");
        int second = lines.indexOf("sample 2: 12 tokens, 5 learned");
        assertTrue(second > 0, String.join("\n", lines));
        assertEquals(
                List.of(
                        "  given      7: \"[gMASK]sop<|user|>\\n 你好\" 64790 64792 64795 30910 13 36474 54591",
                        "  learned    5: \"<|assistant|>\\n hello</s>\" 64796 30910 13 24954 2",
                        "the job is valid"),
                lines.subList(second + 1, lines.size()));
        String first = String.join("\n", lines.subList(0, second));
        CleanRoom.assertSays(
                first, List.of("tool_call(city='北京')\\n```<|observation|>", "given", "{\\\"t\\\": 3}", "sample 1: "));
    }

    @Test
    void pretokenizedSamplesAreShownAsIdsAndNoneUnlessAsked() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        assertEquals(0, samples(validate(job)));
        assertEquals(3, samples(validate(job, "--data")));
        List<String> lines = validate(job, "--data", "1");
        assertEquals(1, samples(lines));
        assertTrue(lines.stream().anyMatch(l -> l.matches("  learned +\\d+: [0-9 ]+")), String.join("\n", lines));
    }

    @Test
    void ofAMixEachFileIsShownWithItsWeight() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path train = TinyJob.shared("fixtures/tiny-chatglm3/train.jsonl");
        Path other = Files.write(
                directory.resolve("other.jsonl"), Files.readAllLines(train).subList(0, 1));
        String mix = "data.train=[" + train + ", " + other + "]";
        List<String> lines = validate(job, "--data", "2", "--set", mix, "--set", "data.weights=[1, 0.5]");
        int first = lines.indexOf(train + " (weight 1.0):");
        int second = lines.indexOf(other + " (weight 0.5):");
        assertTrue(first > 0 && second > first, String.join("\n", lines));
        assertEquals(2, samples(lines.subList(first, second)));
        assertEquals(1, samples(lines.subList(second, lines.size())));
        List<String> plain = validate(job, "--data", "2", "--set", mix);
        assertTrue(plain.contains(train + ":") && plain.contains(other + ":"), String.join("\n", plain));
        assertEquals(3, samples(plain));
    }

    @Test
    void aScheduleThatTrainsNothingIsWarnedOf() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        String warning = "warning: nothing will be trained: the learning rate is 0 in every step";
        String[] settings = {"--set", "train.max_steps=1", "--set", "train.schedule.warmup_steps=0", "--set", ""};
        for (String type : List.of("linear", "constant")) {
            settings[5] = "train.schedule.type=" + type;
            List<String> lines = validate(job, settings);
            assertEquals(
                    type.equals("linear"),
                    lines.stream().anyMatch(l -> l.startsWith(warning)),
                    String.join("\n", lines));
        }
    }

    private static long samples(List<String> lines) {
        return lines.stream().filter(l -> l.startsWith("sample ")).count();
    }

    @Test
    void chatglm6bIsKnownAndItsTokenizerLookedFor() throws Exception {
        Path job = publishedModel("chatglm-6b", "chatglm1");
        Files.writeString(
                job,
                Files.readString(job)
                        .replace(directory.resolve("tools.jsonl").toString(), alpaca().toString())
                        .replace("format: chatglm3", "format: alpaca"));
        List<String> lines = validate(job, "--data", "1");
        CleanRoom.assertSays(
                String.join("\n", lines),
                List.of("model: 6,173,286,400 parameters, 28 layers", "[gMASK]", "learned", "the job is valid"));
        room.refused(
                1,
                List.of("tiny-chatglm1", "ice_text.model"),
                "shardloom",
                "generate",
                "--prompt",
                "x",
                "--model",
                TinyJob.shared("fixtures/tiny-chatglm1/safetensors-fp32").toString());
    }

    private Path alpaca() throws Exception {
        return Files.writeString(
                directory.resolve("alpaca.jsonl"), "{\"instruction\":\"你好\",\"input\":\"\",\"output\":\"hello\"}\n");
    }
}
