package org.shardloom.deploy.quickstart;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.Message;
import org.shardloom.worker.data.Role;
import org.shardloom.worker.generate.Continuation;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** What the quickstart says before and after its training. */
public final class Quickstart {
    private static final int SHOWN = 8;
    private static final int BATCH = 50;

    private Quickstart() {}

    public static void announce(PrintStream out, QuickstartFiles files) {
        out.println(
                "Quickstart: a small ChatGLM3-architecture model, started at random, learns to write numbers in words and words as numbers.");
        out.println("Four worker processes train all its parameters under ZeRO-3. Files: "
                + files.job().getParent());
    }

    /** Asks the trained model the questions that were held out, shows some, and says how many it answered exactly. */
    public static double answerHeldOut(PrintStream out, QuickstartFiles files, Path model) throws IOException {
        List<JsonNode> questions = new ArrayList<>();
        ObjectMapper mapper = new ObjectMapper();
        for (String line : Files.readAllLines(files.heldOut())) {
            questions.add(mapper.readTree(line));
        }
        int right = 0;
        out.println();
        out.println("Questions that were held out of the training:");
        try (Tokenizer tokenizer = Tokenizers.open(model, Family.GLM3);
                LoadedModel loaded =
                        LoadedModel.open(model, Runtime.getRuntime().availableProcessors(), 128)) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            Generator generator =
                    new Generator(loaded, tokenizer.vocabularySize(), template.stops(), SamplingOptions.GREEDY);
            for (int from = 0; from < questions.size(); from += BATCH) {
                List<JsonNode> batch = questions.subList(from, Math.min(questions.size(), from + BATCH));
                List<int[]> prompts = batch.stream()
                        .map(q -> template.prompt(List.of(Message.of(
                                Role.USER,
                                q.path("instruction").asText() + q.path("input").asText()))))
                        .toList();
                List<Continuation> answers = generator.generate(prompts, 24);
                for (int i = 0; i < batch.size(); i++) {
                    String expected = batch.get(i).path("output").asText();
                    String answer = tokenizer.decode(answers.get(i).tokens()).strip();
                    boolean exact = answer.equals(expected);
                    right += exact ? 1 : 0;
                    if (from + i < SHOWN) {
                        out.printf(
                                "  %s %s  ->  %s%s%n",
                                batch.get(i).path("instruction").asText().strip(),
                                batch.get(i).path("input").asText(),
                                answer,
                                exact ? "" : "   (expected: " + expected + ")");
                    }
                }
            }
        }
        double share = (double) right / questions.size();
        out.printf(
                Locale.ROOT,
                "Answered exactly: %d of %d (%.0f %%). The model is in %s%n",
                right,
                questions.size(),
                share * 100,
                model);
        return share;
    }
}
