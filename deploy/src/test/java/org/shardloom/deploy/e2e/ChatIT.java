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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A conversation over standard input: turns, forgetting, tools, and what is refused. */
@Timeout(value = 180, unit = TimeUnit.SECONDS)
class ChatIT {
    @TempDir
    Path directory;

    private static final String CHATGLM =
            """
            {"model_type": "chatglm", "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2, "inner_hidden_size": 16,
             "vocab_size": 130528, "max_sequence_length": 512, "layernorm_epsilon": 1e-5, "position_encoding_2d": true,
             "bos_token_id": 130004, "eos_token_id": 130005, "mask_token_id": 130000, "gmask_token_id": 130001}
            """;

    private static final String LATER =
            """
            {"model_type": "chatglm", "_name_or_path": "%s", "multi_query_attention": true, "multi_query_group_num": 1,
             "add_qkv_bias": true, "hidden_size": 16, "num_layers": 1, "num_attention_heads": 2, "kv_channels": 8,
             "ffn_hidden_size": 16, "padded_vocab_size": 65024, "seq_length": 512, "layernorm_epsilon": 1e-5, "rmsnorm": true}
            """;

    /** What a step of training leaves. */
    private Path trained(String family, Path model, String init, String output, String method) throws Exception {
        Path data = Files.writeString(
                directory.resolve("data.jsonl"), "{\"instruction\":\"你好\",\"input\":\"\",\"output\":\"hello\"}\n");
        Path job = Files.writeString(
                directory.resolve(output + ".yaml"),
                """
                model: {path: %s, init: %s}
                tokenizer: %s
                data: {train: [%s], max_length: 64}
                train: {max_steps: 1, global_batch_size: 1, learning_rate: %s, schedule: {type: constant}}
                method: %s
                precision: fp32
                output_dir: %s
                """
                        .formatted(
                                model,
                                init,
                                TinyJob.shared("fixtures/tokenizers/" + family),
                                data,
                                init.equals("random") ? "1e-9" : "0.1",
                                method,
                                directory.resolve(output)));
        try (CleanRoom room = new CleanRoom(directory)) {
            room.run("start.sh", "--config", job.toString()).expect(0);
        }
        return directory.resolve(output + "/final");
    }

    /** A model of random numbers talks nonsense, which is enough to see how a conversation goes. */
    private Path model(String family, String config) throws Exception {
        Path model = Files.createDirectories(directory.resolve("model"));
        Files.writeString(model.resolve("config.json"), config);
        return trained(family, model, "random", "base", "{type: full}");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "chatglm1 | {type: p_tuning_v2, prefix_length: 4}",
                "chatglm2 | {type: lora, rank: 4, targets: all}",
            })
    void everyFamilyTalksWithAnAdapterOrAPrefix(String family, String method) throws Exception {
        Path base = model(family, family.equals("chatglm1") ? CHATGLM : LATER.formatted("chatglm2-6b"));
        Path adapter = trained(family, base, "pretrained", "adapted", method);
        String tokenizer = TinyJob.shared("fixtures/tokenizers/" + family).toString();
        List<String> answers =
                chat(0, "你好\n再见\n", "--model", adapter.toString(), "--tokenizer", tokenizer, "--max-new-tokens", "4");
        assertTrue(answers.get(0).startsWith("the adapter acts: "), answers.toString());
        assertEquals(
                2,
                answers.stream()
                        .filter(l -> l.equals("(cut off after 4 tokens)"))
                        .count(),
                answers.toString());
        List<String> refused =
                chat(2, "", "--model", adapter.toString(), "--tokenizer", tokenizer, "--tools", tools().toString());
        assertEquals(
                "shardloom: --tools is for ChatGLM3: this model's format has no tools",
                refused.get(refused.size() - 1));
    }

    private Path tools() throws IOException {
        return Files.writeString(directory.resolve("tools.json"), "[{\"name\": \"weather\"}]");
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
        Path model = model("chatglm3", LATER.formatted("chatglm3-6b"));
        String[] common = {"--model", model.toString(), "--max-new-tokens", "5"};
        List<String> once = chat(0, "你好\n", common);
        List<String> twice = chat(0, "你好\n/clear\n\n你好\n/exit\nnever read\n", common);
        assertTrue(once.get(once.size() - 1).contains("(cut off after 5 tokens)"), once.toString());
        List<String> expected = new ArrayList<>(once);
        expected.add("(forgotten)");
        expected.addAll(once);
        assertEquals(expected, twice);

        Path tools = tools();
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
