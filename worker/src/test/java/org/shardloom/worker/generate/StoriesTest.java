package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.TinyModel;

/** A real pre-trained Llama against the reference: logits, losses, and the stories it tells. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class StoriesTest {

    @Test
    void lossesAndLogitsOfEverySequenceEqualTheReference() throws Exception {
        Path directory = SharedFixtures.require("stories260k");
        try (TensorSource reference = TinyModel.open(directory.resolve("reference.safetensors"));
                LoadedModel model = LoadedModel.open(directory, 1, 512)) {
            for (JsonNode sequence :
                    SharedFixtures.json(directory.resolve("reference.json")).path("sequences")) {
                String name = sequence.path("name").asText();
                int[] ids = Arrays.stream(TinyModel.longs(reference, name + "/input_ids"))
                        .mapToInt(v -> (int) v)
                        .toArray();
                float[][] logits = model.allLogits(List.of(ids));
                float[] first = reference.readAll(name + "/logits_first64");
                for (int t = 0; t < first.length / 512; t++) {
                    float[] expected = Arrays.copyOfRange(first, t * 512, (t + 1) * 512);
                    assertArrayEquals(expected, logits[t], 1e-4f, name + " token " + t);
                }
                double loss = 0;
                for (int t = 0; t + 1 < ids.length; t++) {
                    loss += loss(logits[t], ids[t + 1]) / (ids.length - 1);
                }
                assertEquals(sequence.path("loss").asDouble(), loss, 1e-5, name);
            }
        }
    }

    private static double loss(float[] logits, int target) {
        double sum = 0;
        for (float logit : logits) {
            sum += Math.exp(logit);
        }
        return Math.log(sum) - logits[target];
    }

    @Test
    void promptsContinueTogetherAsTheReferenceContinuesEach() throws Exception {
        Path directory = SharedFixtures.require("stories260k");
        JsonNode reference = SharedFixtures.json(directory.resolve("reference.json"));
        try (LoadedModel model = LoadedModel.open(directory, 2, 512)) {
            List<JsonNode> cases = new java.util.ArrayList<>();
            reference.path("greedy").forEach(cases::add);
            List<Continuation> found = Greedy.of(model)
                    .generate(
                            cases.stream()
                                    .map(c -> SharedFixtures.ints(c.path("prompt_ids")))
                                    .toList(),
                            32);
            for (int i = 0; i < cases.size(); i++) {
                assertArrayEquals(
                        SharedFixtures.ints(cases.get(i).path("generated")),
                        found.get(i).tokens());
            }
        }
    }

    @Test
    void theDocumentedStoryIsToldTokenForToken() throws Exception {
        Path directory = SharedFixtures.require("stories260k");
        int[] story = SharedFixtures.ints(
                SharedFixtures.json(directory.resolve("reference.json")).path("greedy_from_bos_ids"));
        try (LoadedModel model = LoadedModel.open(directory, 1, 512)) {
            List<Continuation> told = Greedy.of(model).generate(List.of(new int[] {1}), 120);
            assertArrayEquals(Arrays.copyOfRange(story, 1, 121), told.get(0).tokens());
        }
    }
}
