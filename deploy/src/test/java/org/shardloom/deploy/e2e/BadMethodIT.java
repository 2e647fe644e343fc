package org.shardloom.deploy.e2e;

import java.nio.file.Files;
import java.nio.file.Path;
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
        room.refused(
                2,
                List.of("evaluation.every_steps needs data.eval"),
                "start.sh",
                "--config",
                job.toString(),
                "--set",
                "evaluation.every_steps=5");
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
