package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.Message;
import org.shardloom.worker.data.PlainTemplate;
import org.shardloom.worker.data.Role;
import org.shardloom.worker.data.Sample;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.loop.TemplateFamily;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** The command as the command line runs it, in this process, with the 260K-parameter TinyStories model. */
class EvaluateCommandTest {
    /** What the model continues with, from reference.json. */
    private static final String RIGHT = "shining and the sky was very shiny. It was a big, shiny ball. The sk";

    private static final String WRONG = "quite cold";

    @TempDir
    Path directory;

    private Path model;
    private Path data;
    private final StringWriter error = new StringWriter();

    @BeforeEach
    void write() throws Exception {
        model = TinyJob.shared("fixtures/stories260k");
        data = Files.writeString(
                directory.resolve("data.jsonl"),
                """
                {"instruction": "The sun was", "input": "", "output": "%s"}
                {"instruction": "The sun was", "input": "", "output": "%s"}
                """
                        .formatted(RIGHT, WRONG));
    }

    private String run(int status, String... flags) {
        List<String> arguments =
                new ArrayList<>(List.of("evaluate", "--model", model.toString(), "--template", "plain"));
        arguments.addAll(List.of(flags));
        StringWriter out = new StringWriter();
        int found =
                Main.run(new PrintWriter(out, true), new PrintWriter(error, true), arguments.toArray(String[]::new));
        assertEquals(status, found, error.toString());
        return out.toString();
    }

    @Test
    void answersAreScoredAndTheLossIsThatOfTheLogits() throws Exception {
        Path answers = directory.resolve("answers.jsonl");
        JsonNode result = new ObjectMapper()
                .readTree(run(
                        0,
                        "--data",
                        data.toString(),
                        "--max-length",
                        "128",
                        "--max-new-tokens",
                        "32",
                        "--answers",
                        answers.toString(),
                        "--json"));
        assertEquals(2, result.path("samples").asInt());
        assertEquals(0, result.path("empty_answers").asInt());
        assertEquals(0.5, result.path("exact-match").asDouble());
        double expected = meanLoss();
        assertEquals(expected, result.path("loss").asDouble(), 1e-5);
        assertEquals(Math.exp(expected), result.path("perplexity").asDouble(), 1e-3);
        List<String> lines = Files.readAllLines(answers);
        assertEquals(2, lines.size());
        JsonNode first = new ObjectMapper().readTree(lines.get(0));
        assertEquals(RIGHT, first.path("answer").asText());
        assertEquals(RIGHT, first.path("reference").asText());
        assertEquals(1.0, first.path("rouge-l").asDouble());
        assertEquals(
                0.0,
                new ObjectMapper().readTree(lines.get(1)).path("exact-match").asDouble());
    }

    /** By the definition, in double precision, from logits. */
    private double meanLoss() throws Exception {
        try (Tokenizer words = Tokenizers.open(model, TemplateFamily.of(DataConfig.Template.PLAIN, model));
                LoadedModel loaded = LoadedModel.open(model, 1, 256)) {
            ChatTemplate chat = new PlainTemplate(words);
            double sum = 0;
            int count = 0;
            for (String answer : List.of(RIGHT, WRONG)) {
                Sample sample = chat.encode(
                        List.of(Message.of(Role.USER, "The sun was"), Message.of(Role.ASSISTANT, answer)), 128, 85);
                float[][] logits = loaded.allLogits(List.of(sample.inputIds()));
                for (int t = 0; t + 1 < sample.length(); t++) {
                    int target = sample.labels()[t + 1];
                    if (target != Sample.IGNORED) {
                        double total = 0;
                        for (float logit : logits[t]) {
                            total += Math.exp(logit - logits[t][target]);
                        }
                        sum += Math.log(total);
                        count++;
                    }
                }
            }
            return sum / count;
        }
    }

    @Test
    void theResultIsSaidInWordsAndTheLossAloneIsQuick() {
        String found =
                run(0, "--data", data.toString(), "--max-length", "128", "--max-new-tokens", "0", "--samples", "1");
        assertTrue(found.startsWith("1 of 2 samples: loss "), found);
        assertEquals(1, found.lines().count(), found);
    }

    @Test
    void whatCannotBeDoneIsRefused() {
        run(2, "--data", data.toString(), "--samples", "0");
        assertTrue(error.toString().contains("--samples"), error.toString());
        run(2, "--data", data.toString(), "--format", "pretokenized");
        assertTrue(error.toString().contains("pretokenized"), error.toString());
    }
}
