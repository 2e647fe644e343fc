package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** The command as the command line runs it, in this process, with the 260K-parameter TinyStories model. */
class GenerateCommandTest {
    @TempDir
    Path directory;

    private Path model;
    private final StringWriter error = new StringWriter();

    @BeforeEach
    void find() {
        model = TinyJob.shared("fixtures/stories260k");
    }

    private String run(int status, String... flags) {
        List<String> arguments = new ArrayList<>(List.of("generate", "--model", model.toString()));
        arguments.addAll(List.of(flags));
        StringWriter out = new StringWriter();
        int found =
                Main.run(new PrintWriter(out, true), new PrintWriter(error, true), arguments.toArray(String[]::new));
        assertEquals(status, found, error.toString());
        return out.toString();
    }

    private void refused(String message, String... flags) {
        error.getBuffer().setLength(0);
        run(2, flags);
        assertTrue(error.toString().contains(message), error.toString());
    }

    private Path input(String text) throws Exception {
        return Files.writeString(directory.resolve("prompts.txt"), text);
    }

    @Test
    void aPromptIsContinuedAsTheReferenceDoes() {
        // The 32 tokens of reference.json.
        assertEquals(
                "shining and the sky was very shiny. It was a big, shiny ball. The sk\n",
                run(0, "--prompt", "The sun was", "--max-new-tokens", "32"));
    }

    @Test
    void everyLineOfAFileGetsAJsonLine() throws Exception {
        Path file = input("The sun was\r\nOne day\n");
        String[] lines = run(0, "--input", file.toString(), "--max-new-tokens", "32", "--json")
                .split("\n");
        assertEquals(2, lines.length);
        JsonNode second = new ObjectMapper().readTree(lines[1]);
        List<String> keys = new ArrayList<>();
        second.fieldNames().forEachRemaining(keys::add);
        assertEquals(List.of("prompt", "answer", "prompt_tokens", "answer_tokens", "tokens", "end"), keys);
        assertEquals("One day", second.path("prompt").asText());
        assertEquals(
                ", a little girl named Lily went to the park with her mom. She saw a big box with a big box",
                second.path("answer").asText());
        assertEquals(3, second.path("prompt_tokens").asInt());
        assertEquals(32, second.path("answer_tokens").asInt());
        assertEquals("length", second.path("end").asText());
        JsonNode first = new ObjectMapper().readTree(lines[0]);
        assertEquals("The sun was", first.path("prompt").asText());
        JsonNode reference = new ObjectMapper()
                .readTree(model.resolve("reference.json").toFile())
                .path("greedy")
                .path(1);
        assertEquals("The sun was", reference.path("prompt").asText());
        assertEquals(reference.path("generated"), first.path("tokens"));
    }

    @Test
    void promptsMayComeFromTheStandardInput() {
        InputStream before = System.in;
        try {
            System.setIn(new ByteArrayInputStream("The sun was".getBytes(StandardCharsets.UTF_8)));
            assertEquals("shining and the\n", run(0, "--input", "-", "--max-new-tokens", "6"));
        } finally {
            System.setIn(before);
        }
    }

    @Test
    void aSeedRepeatsWhatIsDrawn() {
        String[] flags = {
            "--prompt", "The sun was", "--temperature", "1.5", "--top-k", "50", "--top-p", "0.95", "--seed"
        };
        assertEquals(run(0, with(flags, "7")), run(0, with(flags, "7")));
        assertNotEquals(run(0, with(flags, "7")), run(0, with(flags, "8")));
    }

    /** The whole answer is "shining and the sky was very shiny. It was a big, shiny ball. The sk". */
    @Test
    void anAnswerEndsBeforeAStopTextOrToken() throws Exception {
        String[] flags = {"--prompt", "The sun was", "--max-new-tokens", "32", "--stop"};
        assertEquals("shining and the sky was very\n", run(0, with(flags, "shiny.")));
        assertEquals("shining and the s\n", run(0, with(flags, "ky w")));
        assertEquals("shining and the sky was very shiny\n", run(0, with(flags, ". It", "--stop", "ball")));
        assertEquals("\n", run(0, with(flags, "shin")));
        JsonNode line = new ObjectMapper().readTree(run(0, with(flags, "sky", "--json")));
        assertEquals("shining and the", line.path("answer").asText());
        assertEquals("stop", line.path("end").asText());
        assertTrue(line.path("answer_tokens").asInt() < 12, line.toString());
        assertEquals(
                "length",
                new ObjectMapper()
                        .readTree(run(0, with(flags, "moon", "--json")))
                        .path("end")
                        .asText());
        try (Tokenizer words = Tokenizers.open(model, Family.PLAIN)) {
            int[] ids = words.encode("shining and the sky");
            String last = Integer.toString(ids[ids.length - 1]);
            String found = run(0, "--prompt", "The sun was", "--max-new-tokens", "32", "--stop-token", last);
            assertTrue("shining and the sky was very shiny.".startsWith(found.strip()), found);
        }
        refused("--stop is empty", with(flags, ""));
        refused("--stop-token 512 is none of the model's tokens, 0 to 511", "--prompt", "a", "--stop-token", "512");
        refused("--stop-token sky is neither a number nor a special token", "--prompt", "a", "--stop-token", "sky");
    }

    private static String[] with(String[] flags, String... last) {
        List<String> all = new ArrayList<>(List.of(flags));
        all.addAll(List.of(last));
        return all.toArray(String[]::new);
    }

    @Test
    void wrongUsageIsRefusedInOneLineThatSaysWhatToDo() throws Exception {
        refused("(specify one of these): (--prompt=TEXT | --input=FILE)");
        refused("mutually exclusive", "--prompt", "a", "--input", "b");
        refused("--temperature is -1.0, expected 0 or above", "--prompt", "a", "--temperature", "-1");
        refused("--top-p is 2.0, expected above 0 and at most 1", "--prompt", "a", "--top-p", "2");
        refused("--top-k has no effect without a temperature above 0", "--prompt", "a", "--top-k", "5");
        refused("--seed has no effect without a --temperature above 0", "--prompt", "a", "--seed", "5");
        refused("--max-new-tokens is 0, expected 1 or more", "--prompt", "a", "--max-new-tokens", "0");
        refused("prompts.txt is empty", "--input", input("").toString());
        refused("prompts.txt:2: the line is empty", "--input", input("a\n \nb").toString());
        refused(
                "prompts.txt:2: the prompt has",
                "--input",
                input("a\n" + "b ".repeat(5000)).toString());
        Files.write(directory.resolve("prompts.txt"), new byte[] {'a', (byte) 0xff});
        refused(
                "prompts.txt is not UTF-8",
                "--input",
                directory.resolve("prompts.txt").toString());
    }
}
