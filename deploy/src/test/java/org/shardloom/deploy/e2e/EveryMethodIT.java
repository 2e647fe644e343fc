package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Real lines of an extraction task and the real ChatGLM3 tokenizer on a small model: every method learns, is evaluated, saved, used. */
@Timeout(value = 400, unit = TimeUnit.SECONDS)
class EveryMethodIT {
    private static final String MODEL =
            """
            {"model_type": "chatglm", "multi_query_attention": true, "multi_query_group_num": 2, "add_qkv_bias": true,
             "hidden_size": 64, "num_layers": 2, "num_attention_heads": 4, "kv_channels": 16, "ffn_hidden_size": 128,
             "padded_vocab_size": 65024, "seq_length": 512, "layernorm_epsilon": 1e-5, "rmsnorm": true}
            """;

    @TempDir
    Path directory;

    private CleanRoom room;
    private Path train;
    private Path eval;

    private Path job(String name, Path model, String init, String more) throws Exception {
        return Files.writeString(
                directory.resolve(name + ".yaml"),
                """
                model: {path: %s, init: %s}
                tokenizer: %s
                data: {train: [%s], eval: %s, format: alpaca, max_length: 160}
                train:
                  max_steps: 30
                  micro_batch_size: 2
                  global_batch_size: 4
                  schedule: {type: constant}
                  optimizer: {weight_decay: 0}
                precision: fp32
                checkpoint: {every_steps: 0}
                workers: 2
                output_dir: %s
                %s
                """
                        .formatted(
                                model,
                                init,
                                TinyJob.shared("fixtures/tokenizers/chatglm3"),
                                train,
                                eval,
                                directory.resolve(name),
                                more));
    }

    private List<JsonNode> train(Path job, String... settings) throws Exception {
        String[] arguments = Stream.concat(
                        Stream.of("--config", job.toString()),
                        Stream.of(settings).flatMap(s -> Stream.of("--set", s)))
                .toArray(String[]::new);
        room.run("start.sh", arguments).expect(0);
        return Commands.metrics(directory.resolve(job.getFileName().toString().replace(".yaml", "")));
    }

    /** What a model answers, as text and as ids; of an adapter or prefix it is said that it acts. */
    private String answers(Path model, boolean adapter) throws Exception {
        Path prompts = Files.writeString(directory.resolve("prompts.txt"), "抽取三元组。文本：发动机水温高\n抽取三元组。文本：风扇不转\n");
        String printed = room.run(
                        "shardloom",
                        "generate",
                        "--model",
                        model.toString(),
                        "--input",
                        prompts.toString(),
                        "--tokenizer",
                        TinyJob.shared("fixtures/tokenizers/chatglm3").toString(),
                        "--max-new-tokens",
                        "24",
                        "--repetition-penalty",
                        "2",
                        "--json")
                .expect(0)
                .output();
        assertEquals(
                adapter, printed.contains("the adapter acts: it changes logits of the base model by up to "), printed);
        List<String> lines = printed.lines().filter(l -> l.startsWith("{")).toList();
        assertEquals(2, lines.size(), printed);
        assertTrue(lines.stream().allMatch(l -> l.contains("\"tokens\":[")), "ids are compared, too: " + printed);
        return String.join("\n", lines);
    }

    @Test
    void everyMethodLearnsIsSavedAndUsed() throws Exception {
        List<String> lines = Files.readAllLines(TinyJob.shared("data/spo_0.json"));
        train = Files.write(directory.resolve("train.json"), lines.subList(0, 40));
        eval = Files.write(directory.resolve("eval.json"), lines.subList(40, 47));
        Path shape = Files.createDirectories(directory.resolve("shape"));
        Files.writeString(shape.resolve("config.json"), MODEL);
        room = new CleanRoom(directory);
        try {
            evaluatesWhileItTrains(shape);
            Path base = directory.resolve("full/final");
            String before = answers(base, false);
            learns("freeze", base, "{type: freeze, last_layers: 1}", 3e-3, before);
            learns("p_tuning", base, "{type: p_tuning, virtual_tokens: 8}", 0.1, before);
            learns("p_tuning_v2", base, "{type: p_tuning_v2, prefix_length: 8}", 0.1, before);
            learns("projected", base, "{type: p_tuning_v2, prefix_length: 4, projection: true}", 3e-3, before);
            for (String method : List.of("lora", "qlora")) {
                String with = learns(method, base, "{type: " + method + ", rank: 4, targets: all}", 1e-2, before);
                Path adapter = directory.resolve(method + "/final");
                readByPeft(adapter);
                if (method.equals("lora")) {
                    assertEquals(with, answers(directory.resolve("lora/checkpoint-30"), true), "from its checkpoint");
                }
                Path merged = directory.resolve(method + "-merged");
                room.run("shardloom", "merge", "--adapter", adapter.toString(), "--output", merged.toString())
                        .expect(0);
                assertEquals(with, answers(merged, false), "merged " + method);
            }
        } finally {
            room.close();
        }
    }

    private static void readByPeft(Path adapter) throws Exception {
        Optional<String> read = Python.run(
                List.of("torch", "peft"),
                """
                import sys, peft
                from peft.utils.save_and_load import load_peft_weights
                config = peft.PeftConfig.from_pretrained(sys.argv[1])
                print(config.peft_type.value, config.r, len(load_peft_weights(sys.argv[1], device="cpu")))
                """,
                adapter.toString());
        // Two factors for each of four linear maps in two layers.
        read.ifPresent(found -> assertEquals("LORA 4 16", found));
    }

    /** Trains, and gives the answers of what has come of it, which are not those from before. */
    private String learns(String name, Path base, String method, double rate, String before) throws Exception {
        List<JsonNode> metrics = train(
                job(name, base, "pretrained", "method: " + method),
                "train.learning_rate=" + rate,
                "checkpoint.every_steps=30");
        double first = 0;
        double last = 0;
        for (int i = 0; i < 5; i++) {
            first += metrics.get(i).path("loss").asDouble() / 5;
            last += metrics.get(25 + i).path("loss").asDouble() / 5;
        }
        assertTrue(last < first - 0.02, name + ": loss " + first + " to " + last);
        boolean adds = !name.equals("freeze");
        assertEquals(adds, !Files.exists(directory.resolve(name + "/final/model.safetensors")), name);
        String after = answers(directory.resolve(name + "/final"), adds);
        assertNotEquals(before, after, name + " changes answers");
        return after;
    }

    private void evaluatesWhileItTrains(Path shape) throws Exception {
        List<JsonNode> metrics = train(
                job(
                        "full",
                        shape,
                        "random",
                        "evaluation: {every_steps: 10, metrics: [loss, rouge, bleu, exact_match, f1], prompts: 3,"
                                + " max_new_tokens: 12}"),
                "train.learning_rate=1e-2",
                "checkpoint.every_steps=10",
                "checkpoint.keep_last=1",
                "checkpoint.keep_best=1");
        ObjectMapper json = new ObjectMapper();
        double lowest = Double.MAX_VALUE;
        int best = 0;
        for (int step = 1; step <= 30; step++) {
            JsonNode line = metrics.get(step - 1);
            assertEquals(step % 10 == 0, line.has("eval_loss"), "step " + step);
            if (step % 10 == 0) {
                assertTrue(line.path("eval_rouge_l").isNumber()
                        && line.path("eval_empty_answers").isNumber());
                if (line.path("eval_loss").asDouble() < lowest) {
                    lowest = line.path("eval_loss").asDouble();
                    best = step;
                }
                List<String> answers =
                        Files.readAllLines(directory.resolve("full/evaluations/step-" + step + ".jsonl"));
                assertEquals(3, answers.size());
                for (String answer : answers) {
                    assertTrue(json.readTree(answer).path("prompt").asText().contains("三元组"), answer);
                    assertFalse(json.readTree(answer).path("reference").asText().isEmpty(), answer);
                    assertTrue(json.readTree(answer).path("exact-match").isNumber(), answer);
                }
            }
        }
        assertTrue(metrics.get(29).path("eval_loss").asDouble()
                < metrics.get(9).path("eval_loss").asDouble());
        assertTrue(Files.exists(directory.resolve("full/checkpoint-" + best)), "the best is kept");
        JsonNode measured = json.readTree(room.run(
                        "shardloom",
                        "evaluate",
                        "--model",
                        directory.resolve("full/checkpoint-30").toString(),
                        "--data",
                        eval.toString(),
                        "--max-length",
                        "160",
                        "--max-new-tokens",
                        "0",
                        "--json")
                .expect(0)
                .output());
        assertEquals(
                measured.path("loss").asDouble(),
                metrics.get(29).path("eval_loss").asDouble(),
                2e-3,
                "as evaluate says");
    }
}
