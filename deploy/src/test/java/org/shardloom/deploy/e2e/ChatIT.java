package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** A conversation over standard input: turns, forgetting, tools, and what is refused. */
@Timeout(value = 180, unit = TimeUnit.SECONDS)
class ChatIT {
    @TempDir
    Path directory;

    /** A model of random numbers talks nonsense, which is enough to see how a conversation goes. */
    private Path model() throws Exception {
        Path model = Files.createDirectories(directory.resolve("model"));
        Files.writeString(
                model.resolve("config.json"),
                """
                {"model_type": "chatglm", "multi_query_attention": true, "multi_query_group_num": 1, "add_qkv_bias": true,
                 "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2, "kv_channels": 8, "ffn_hidden_size": 16,
                 "padded_vocab_size": 65024, "seq_length": 512, "layernorm_epsilon": 1e-5, "rmsnorm": true}
                """);
        Path data = Files.writeString(
                directory.resolve("data.jsonl"), "{\"instruction\":\"你好\",\"input\":\"\",\"output\":\"hello\"}\n");
        Path job = Files.writeString(
                directory.resolve("job.yaml"),
                """
                model: {path: %s, init: random}
                tokenizer: %s
                data: {train: [%s], max_length: 64}
                train: {max_steps: 1, global_batch_size: 1}
                precision: fp32
                output_dir: %s
                """
                        .formatted(
                                model,
                                TinyJob.shared("fixtures/tokenizers/chatglm3"),
                                data,
                                directory.resolve("output")));
        try (CleanRoom room = new CleanRoom(directory)) {
            room.run("start.sh", "--config", job.toString()).expect(0);
        }
        return directory.resolve("output/final");
    }

    private List<String> chat(int status, String input, String... arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(Commands.ROOT + "/deploy/shardloom", "chat"));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("SHARDLOOM_BUILD", "never");
        Process process = builder.start();
        process.getOutputStream().write(input.getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(status, process.waitFor(), output);
        return output.lines().toList();
    }

    @Test
    void linesAreAnsweredUntilTheInputEnds() throws Exception {
        Path model = model();
        String[] common = {"--model", model.toString(), "--max-new-tokens", "5"};
        List<String> once = chat(0, "你好\n", common);
        List<String> twice = chat(0, "你好\n/clear\n\n你好\n/exit\nnever read\n", common);
        assertTrue(once.get(once.size() - 1).contains("(cut off after 5 tokens)"), once.toString());
        List<String> expected = new ArrayList<>(once);
        expected.add("(forgotten)");
        expected.addAll(once);
        assertEquals(expected, twice);

        Path tools = Files.writeString(directory.resolve("tools.json"), "[{\"name\": \"weather\"}]");
        assertTrue(chat(0, "北京天气\n", "--model", model.toString(), "--tools", tools.toString(), "--max-new-tokens", "3")
                        .size()
                >= 1);
        Files.writeString(tools, "{}");
        List<String> refused = chat(2, "", "--model", model.toString(), "--tools", tools.toString());
        assertEquals(List.of("shardloom: " + tools + " is no JSON array of tools' descriptions"), refused);
        refused = chat(
                2,
                "",
                "--model",
                model.toString(),
                "--template",
                "chatglm2",
                "--tools",
                Files.writeString(tools, "[{}]").toString());
        assertTrue(refused.get(refused.size() - 1).startsWith("shardloom: "), refused.toString());
    }
}
