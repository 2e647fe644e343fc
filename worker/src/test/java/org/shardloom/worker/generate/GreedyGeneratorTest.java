package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.TinyModel;

@Timeout(value = 60, unit = TimeUnit.SECONDS)
class GreedyGeneratorTest {
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
        List<int[]> found = new GreedyGenerator(model, -1).generate(prompts, 32);
        for (int i = 0; i < prompts.size(); i++) {
            assertArrayEquals(continuations.get(i), found.get(i), "prompt " + i);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm2", "tiny-chatglm3"})
    void otherFormatsOfTheModelsContinueTheSame(String name) throws Exception {
        Path root = SharedFixtures.require(name);
        for (String format : List.of("bin-fp16", "safetensors-fp32")) {
            try (LoadedModel other = LoadedModel.open(root.resolve(format), 1, 128)) {
                for (JsonNode node : SharedFixtures.json(root.resolve("generation.json"))) {
                    List<int[]> prompt = List.of(SharedFixtures.ints(node.path("prompt")));
                    assertArrayEquals(
                            SharedFixtures.ints(node.path("generated")),
                            new GreedyGenerator(other, -1).generate(prompt, 32).get(0));
                }
            }
        }
    }

    @Test
    void aSequenceEndsBeforeTheStopTokenAndTheOthersGoOn() {
        int stop = continuations.get(0)[4];
        List<int[]> found = new GreedyGenerator(model, stop).generate(prompts.subList(0, 2), 32);
        assertArrayEquals(Arrays.copyOf(continuations.get(0), 4), found.get(0));
        assertArrayEquals(continuations.get(1), found.get(1));
    }

    @Test
    void generationEndsWhereTheModelsPositionsEnd() throws Exception {
        int[] prompt = prompts.get(1);
        try (LoadedModel small = LoadedModel.open(SharedFixtures.tinyChatglm3(), 1, prompt.length + 3)) {
            int[] found =
                    new GreedyGenerator(small, -1).generate(List.of(prompt), 32).get(0);
            assertArrayEquals(Arrays.copyOf(continuations.get(1), 4), found);
        }
    }

    @Test
    void whatTheModelCannotReadIsRefused() {
        GreedyGenerator generator = new GreedyGenerator(model, -1);
        for (int[] bad : List.of(new int[0], new int[81], new int[] {5, 512}, new int[] {-1})) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> generator.generate(List.of(prompts.get(0), bad), 1));
            assertTrue(e.getMessage().contains("token"), e.getMessage());
        }
        assertEquals(0, generator.generate(List.of(), 5).size());
        assertEquals(0, generator.generate(prompts, 0).get(0).length);
    }

    @Test
    void logitsEqualTheReferences() throws Exception {
        try (TensorSource reference =
                TinyModel.open(SharedFixtures.tinyChatglm3().resolve("reference.safetensors"))) {
            List<int[]> sequences = TinyModel.sequences(reference, "", 0, 3);
            float[] expected = reference.readAll("logits");
            int width = reference.info("logits").shape().get(1).intValue();
            float[][] all = model.allLogits(sequences);
            float[][] last = model.lastLogits(sequences);
            int row = 0;
            for (int s = 0; s < 3; s++) {
                for (int t = 0; t < sequences.get(s).length; t++, row++) {
                    int at = (s * width + t) * 512;
                    assertArrayEquals(Arrays.copyOfRange(expected, at, at + 512), all[row], 1e-4f);
                }
                assertArrayEquals(all[row - 1], last[s], 1e-5f);
            }
        }
    }
}
