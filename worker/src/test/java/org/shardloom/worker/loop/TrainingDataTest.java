package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.data.DataException;
import org.shardloom.worker.data.Sample;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.StepInput;

@Timeout(value = 30, unit = TimeUnit.SECONDS)
class TrainingDataTest {
    @TempDir
    Path directory;

    private TrainingData load(String... overrides) throws Exception {
        JobConfig job = Jobs.write(directory, overrides);
        return TrainingData.load(job, ModelConfigReader.read(SharedFixtures.tinyChatglm3()));
    }

    /** All ranks' micro-batches and divisors in sample order: round by round, rank by rank. */
    private static StepInput whole(TrainingData data, long step, int world) {
        List<StepInput> shares = new ArrayList<>();
        List<PackedBatch> batches = new ArrayList<>();
        List<Double> divisors = new ArrayList<>();
        int rounds = 0;
        for (int rank = 0; rank < world; rank++) {
            StepInput share = data.share(step, world, rank, 0.5);
            assertEquals(share.microBatches().size(), share.divisors().size());
            assertEquals(0.5, share.learningRate());
            assertTrue(rank == 0 || share.rounds() == rounds, "all ranks go through the same rounds");
            rounds = share.rounds();
            assertTrue(share.microBatches().size() <= rounds
                    && share.microBatches().size() >= rounds - 1);
            shares.add(share);
        }
        for (int round = 0; round < rounds; round++) {
            for (StepInput share : shares) {
                if (round < share.microBatches().size()) {
                    batches.add(share.microBatches().get(round));
                    divisors.add(share.divisors().get(round));
                }
            }
        }
        return new StepInput(batches, divisors, rounds, 0.5);
    }

    @ParameterizedTest
    @ValueSource(strings = {"token", "micro_batch"})
    void everyWorldTakesTheSameMicroBatchesWithTheSameDivisors(String reduction) throws Exception {
        TrainingData data = load("train.loss_reduction=" + reduction);
        for (long step = 1; step <= 12; step++) {
            StepInput one = whole(data, step, 1);
            assertEquals(4, one.microBatches().size());
            double targets = one.microBatches().stream()
                    .mapToInt(b -> b.targets().length)
                    .sum();
            for (int i = 0; i < 4; i++) {
                PackedBatch batch = one.microBatches().get(i);
                assertEquals(3, batch.starts().length, "two samples each");
                assertEquals(
                        reduction.equals("token") ? targets : 4.0 * batch.targets().length,
                        one.divisors().get(i));
            }
            for (int world = 2; world <= 6; world++) {
                StepInput many = whole(data, step, world);
                assertEquals(one.divisors(), many.divisors());
                assertEquals((4 + world - 1) / world, many.rounds());
                for (int i = 0; i < 4; i++) {
                    assertArrayEquals(
                            one.microBatches().get(i).ids(),
                            many.microBatches().get(i).ids(),
                            "step " + step + " world " + world);
                    assertArrayEquals(
                            one.microBatches().get(i).targets(),
                            many.microBatches().get(i).targets());
                }
            }
        }
    }

    @Test
    void everyEpochHasEverySampleOnceAlsoWhereItEndsWithinAStep() throws Exception {
        TrainingData data = load();
        List<String> samples = new ArrayList<>();
        for (long step = 1; step <= 37; step++) {
            for (PackedBatch batch : whole(data, step, 3).microBatches()) {
                for (int s = 0; s + 1 < batch.starts().length; s++) {
                    samples.add(
                            Arrays.toString(Arrays.copyOfRange(batch.ids(), batch.starts()[s], batch.starts()[s + 1])));
                }
            }
        }
        TreeMap<String, Integer> times = new TreeMap<>();
        samples.forEach(s -> times.merge(s, 1, Integer::sum));
        assertEquals(37, times.size());
        assertEquals(new TreeSet<>(List.of(8)), new TreeSet<>(times.values()));
        for (int epoch = 0; epoch < 8; epoch++) {
            assertEquals(37, new TreeSet<>(samples.subList(epoch * 37, epoch * 37 + 37)).size());
        }
        assertNotEquals(samples.subList(0, 37), samples.subList(37, 74), "each epoch has its own order");
    }

    @ParameterizedTest
    @CsvSource({
        "'{type: full}', ''",
        "'{type: p_tuning, virtual_tokens: 60}', the method adds 60",
        "'{type: p_tuning_v2, prefix_length: 60}', the method adds 60"
    })
    void samplesMustFitIntoTheModelsContext(String method, String expected) throws Exception {
        JobConfig job = Jobs.write(directory, "method=" + method);
        DecoderConfig model = ModelConfigReader.read(SharedFixtures.tinyChatglm3());
        TrainingData data = TrainingData.load(job, model);
        int fits = data.longest() + (expected.isEmpty() ? 0 : 60);
        for (int positions : new int[] {fits, fits - 1}) {
            ObjectNode json = (ObjectNode) ModelConfigReader.json(SharedFixtures.tinyChatglm3());
            json.put("seq_length", positions);
            DecoderConfig other = ModelConfigReader.parse(json.toString(), directory);
            if (positions == fits) {
                TrainingData.load(job, other);
            } else {
                String message = assertThrows(DataException.class, () -> TrainingData.load(job, other))
                        .getMessage();
                assertTrue(
                        message.contains("data.max_length")
                                && message.contains(expected)
                                && message.contains("context has " + positions),
                        message);
            }
        }
    }

    @Test
    void stepsFollowFromEpochsUnlessTheyAreGiven() throws Exception {
        assertEquals(12, load().totalSteps());
        assertEquals(10, load("train.epochs=2").totalSteps(), "74 samples in steps of 8");
        assertEquals(37, load("train.epochs=8").totalSteps());
        TrainingData data = load("train.epochs=2");
        assertEquals(8 / 37.0, data.epochAfter(1), 1e-12);
        assertEquals(80 / 37.0, data.epochAfter(10), 1e-12);
        assertTrue(data.longest() > 6 && data.longest() <= 25, "longest " + data.longest());
    }

    @Test
    void theFirstSamplesOfEachFileAreShownAsTheyAreTrained() throws Exception {
        DecoderConfig model = ModelConfigReader.read(SharedFixtures.tinyChatglm3());
        JobConfig one = Jobs.write(directory, "data.shuffle=false");
        Path file = one.data().train().get(0);
        Path other = Files.write(
                directory.resolve("short.jsonl"), Files.readAllLines(file).subList(20, 22));
        for (String weights : new String[] {"[]", "[1, 0.5]"}) {
            JobConfig job =
                    Jobs.write(directory, "data.train=[" + file + ", " + other + "]", "data.weights=" + weights);
            List<List<Sample>> first = TrainingData.first(job, model, 3);
            assertEquals(List.of(3, 2), first.stream().map(List::size).toList());
            int[] trained = TrainingData.load(one, model)
                    .share(1, 1, 0, 0.5)
                    .microBatches()
                    .get(0)
                    .ids();
            int[] shown = first.get(0).get(0).inputIds();
            assertArrayEquals(shown, Arrays.copyOf(trained, shown.length));
            assertArrayEquals(
                    TrainingData.first(one, model, 22).get(0).get(21).inputIds(),
                    first.get(1).get(1).inputIds());
        }
        Files.writeString(other, "{}\n");
        JobConfig broken = Jobs.write(directory, "data.train=[" + file + ", " + other + "]");
        String message = assertThrows(DataException.class, () -> TrainingData.first(broken, model, 1))
                .getMessage();
        assertTrue(message.startsWith(other + ":1: "), message);
    }
}
