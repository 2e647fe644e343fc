package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.TinyModel;

@Timeout(value = 60, unit = TimeUnit.SECONDS)
class GeneratorTest {
    private final List<int[]> prompts = new ArrayList<>();
    private final List<int[]> continuations = new ArrayList<>();
    private LoadedModel model;

    @BeforeEach
    void open() throws Exception {
        Path directory = SharedFixtures.tinyChatglm3();
        for (JsonNode node : SharedFixtures.json(directory.resolve("generation.json"))) {
            prompts.add(SharedFixtures.ints(node.path("prompt")));
            continuations.add(SharedFixtures.ints(node.path("generated")));
        }
        model = LoadedModel.open(directory, 1, 80);
    }

    @AfterEach
    void close() {
        model.close();
    }

    @Test
    void allPromptsTogetherContinueAsTheReferenceContinuesEach() {
        List<Continuation> found = Greedy.of(model).generate(prompts, 32);
        for (int i = 0; i < prompts.size(); i++) {
            assertArrayEquals(continuations.get(i), found.get(i).tokens(), "prompt " + i);
            assertEquals(Continuation.End.LENGTH, found.get(i).end());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3"})
    void otherFormatsOfTheModelsContinueTheSame(String name) throws Exception {
        Path root = SharedFixtures.require(name);
        for (String format : List.of("bin-fp16", "safetensors-fp32")) {
            try (LoadedModel other = LoadedModel.open(root.resolve(format), 1, 128)) {
                for (JsonNode node : SharedFixtures.json(root.resolve("generation.json"))) {
                    List<int[]> prompt = List.of(SharedFixtures.ints(node.path("prompt")));
                    assertArrayEquals(
                            SharedFixtures.ints(node.path("generated")),
                            Greedy.of(other).generate(prompt, 32).get(0).tokens());
                }
            }
        }
    }

    @Test
    void aSequenceEndsBeforeTheStopTokenAndTheOthersGoOn() {
        int stop = continuations.get(0)[4];
        List<Continuation> found = Greedy.of(model, stop).generate(prompts.subList(0, 2), 32);
        assertArrayEquals(Arrays.copyOf(continuations.get(0), 4), found.get(0).tokens());
        assertEquals(Continuation.End.STOP, found.get(0).end());
        assertArrayEquals(continuations.get(1), found.get(1).tokens());
    }

    @Test
    void generationEndsWhereTheModelsPositionsEnd() throws Exception {
        int[] prompt = prompts.get(1);
        try (LoadedModel small = LoadedModel.open(SharedFixtures.tinyChatglm3(), 1, prompt.length + 3)) {
            Continuation found = Greedy.of(small).generate(List.of(prompt), 32).get(0);
            assertArrayEquals(Arrays.copyOf(continuations.get(1), 4), found.tokens());
            assertEquals(Continuation.End.POSITIONS, found.end());
        }
    }

    @ParameterizedTest
    @CsvSource({"1, 1000", "2, 1000", "3, 1", "5, 4", "2, 7"})
    void fewPlacesAndShortStepsChangeNothing(int places, int stepTokens) {
        Generator.Limits limits = new Generator.Limits(places, stepTokens, Long.MAX_VALUE);
        Generator generator = new Generator(model, 512, Set.of(), SamplingOptions.GREEDY, limits);
        // More prompts than places, and some twice, so that places change hands.
        List<int[]> all = new ArrayList<>(prompts);
        all.addAll(prompts);
        List<Continuation> found = generator.generate(all, 32);
        for (int i = 0; i < all.size(); i++) {
            assertArrayEquals(
                    continuations.get(i % prompts.size()), found.get(i).tokens(), "prompt " + i);
        }
    }

    @Test
    void aSmallCacheHoldsOneSequenceAtATime() {
        Generator.Limits limits = new Generator.Limits(64, 1000, 1);
        List<Integer> order = new ArrayList<>();
        new Generator(model, 512, Set.of(), SamplingOptions.GREEDY, limits).generate(prompts, 32, (prompt, found) -> {
            order.add(prompt);
            assertArrayEquals(continuations.get(prompt), found.tokens());
        });
        assertEquals(List.of(0, 1, 2, 3, 4), order);
    }

    @Test
    void idsBeyondTheVocabularyAreNeverChosen() {
        int beyond = continuations.get(0)[0];
        int[] found = new Generator(model, beyond, Set.of(), SamplingOptions.GREEDY)
                .generate(prompts, 32)
                .get(0)
                .tokens();
        assertTrue(Arrays.stream(found).allMatch(id -> id < beyond), Arrays.toString(found));
    }

    @Test
    void whatIsSampledDependsOnSeedAndNumberOnlyNotOnTheRestOfTheBatch() {
        SamplingOptions options = new SamplingOptions(1, 0, 1, 1, 7);
        List<Continuation> together = sample(options, prompts);
        assertArrayEquals(
                together.get(0).tokens(),
                sample(options, prompts.subList(0, 1)).get(0).tokens());
        List<Continuation> again = sample(options, prompts);
        for (int i = 0; i < prompts.size(); i++) {
            assertArrayEquals(together.get(i).tokens(), again.get(i).tokens());
        }
        List<Continuation> twice = sample(options, List.of(prompts.get(0), prompts.get(0)));
        assertArrayEquals(together.get(0).tokens(), twice.get(0).tokens());
        assertFalse(Arrays.equals(twice.get(0).tokens(), twice.get(1).tokens()));
        List<Continuation> other = sample(new SamplingOptions(1, 0, 1, 1, 8), prompts);
        assertFalse(Arrays.equals(together.get(0).tokens(), other.get(0).tokens()));
    }

    private List<Continuation> sample(SamplingOptions options, List<int[]> prompts) {
        return new Generator(model, 512, Set.of(), options).generate(prompts, 16);
    }

    @Test
    void aPenaltyForRepetitionEndsLoops() {
        SamplingOptions options = new SamplingOptions(0, 0, 1, 1e6, 0);
        for (Continuation found : new Generator(model, 512, Set.of(), options).generate(prompts, 32)) {
            // With such a penalty only what is new remains; the model has many more tokens of positive logit than 40.
            assertEquals(32, Arrays.stream(found.tokens()).distinct().count(), Arrays.toString(found.tokens()));
        }
    }

    @Test
    void whatTheModelCannotReadIsRefused() {
        Generator generator = Greedy.of(model);
        for (int[] bad : List.of(new int[0], new int[81], new int[] {5, 512}, new int[] {-1})) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> generator.generate(List.of(prompts.get(0), bad), 1));
            assertTrue(e.getMessage().contains("token"), e.getMessage());
        }
        assertEquals(0, generator.generate(List.of(), 5).size());
        assertEquals(0, generator.generate(prompts, 0).get(0).tokens().length);
    }

    @Test
    void logitsEqualTheReferences() throws Exception {
        try (TensorSource reference =
                TinyModel.open(SharedFixtures.tinyChatglm3().resolve("reference.safetensors"))) {
            List<int[]> sequences = TinyModel.sequences(reference, "", 0, 3);
            float[] expected = reference.readAll("logits");
            int width = reference.info("logits").shape().get(1).intValue();
            float[][] all = model.allLogits(sequences);
            int row = 0;
            for (int s = 0; s < 3; s++) {
                for (int t = 0; t < sequences.get(s).length; t++, row++) {
                    int at = (s * width + t) * 512;
                    assertArrayEquals(Arrays.copyOfRange(expected, at, at + 512), all[row], 1e-4f);
                }
            }
        }
    }
}
