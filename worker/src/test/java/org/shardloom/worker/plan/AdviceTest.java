package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.weights.SharedFixtures;

/** ChatGLM3-6B on GPUs of several sizes. */
@Timeout(60)
class AdviceTest {
    private static final DecoderConfig MODEL =
            ModelConfigReader.read(SharedFixtures.shared("facts/models/chatglm3-6b"));

    private static JobConfig job(List<String> overrides) {
        String yaml = "model: {path: " + SharedFixtures.shared("facts/models/chatglm3-6b") + "}\n"
                + "data: {train: /none.jsonl}\noutput_dir: /none\nworkers: 2\n"
                + "train: {micro_batch_size: 4, global_batch_size: 8}\ngradient_checkpointing: false\n";
        return JobFile.parse(yaml, "job.yaml", overrides).config();
    }

    private static Advice advice(Gpus gpus, String... given) {
        return new Advice(
                more -> {
                    try {
                        List<String> all = new ArrayList<>(List.of(given));
                        all.addAll(more);
                        return Optional.of(job(all));
                    } catch (JobConfigException e) {
                        return Optional.empty();
                    }
                },
                MODEL,
                gpus);
    }

    @Test
    void theSmallestChangeIsTheOneThatCostsLeast() {
        Gpus gpus = Gpus.parse("2x24GiB");
        assertFalse(Fit.of(job(List.of()), MODEL, gpus).fits());
        Advice.Choice change = advice(gpus).smallestChange(job(List.of())).orElseThrow();
        assertEquals(List.of("gradient_checkpointing=true"), change.overrides());
        assertTrue(change.fit().fits());
    }

    @Test
    void severalChangesAreMadeWhereOneIsNotEnough() {
        Gpus gpus = Gpus.parse("2x6GiB");
        Advice.Choice change = advice(gpus).smallestChange(job(List.of())).orElseThrow();
        assertTrue(
                change.overrides().contains("zero.offload_params=true"),
                change.overrides().toString());
        assertTrue(change.overrides().size() > 1, change.overrides().toString());
        assertTrue(change.fit().plan().devicePeakBytes() + Fit.RESERVED <= 6L << 30);
    }

    @Test
    void offloadBringsTheStageThatItNeeds() {
        Gpus gpus = Gpus.parse("1x8GiB");
        String[] given = {"workers=1", "zero.stage=2", "method={type: lora}"};
        Advice.Choice change =
                advice(gpus, given).smallestChange(job(List.of(given))).orElseThrow();
        assertTrue(
                change.overrides().contains("zero.stage=3"), change.overrides().toString());
        assertTrue(
                change.overrides().contains("zero.offload_params=true"),
                change.overrides().toString());
    }

    @Test
    void anOptimizerThatDoesNotFitGoesToTheHost() {
        String[] given = {"gradient_checkpointing=true", "train.micro_batch_size=1", "zero.offload_optimizer=false"};
        Gpus gpus = Gpus.parse("2x48GiB");
        JobPlan plan = Fit.of(job(List.of(given)), MODEL, gpus).plan();
        long state = plan.ranks().get(0).devicePeakByPurpose().get(Purpose.OPTIMIZER);
        assertEquals(12 * 6_243_584_000L / 2, state, 1e6);
        assertEquals(0, plan.ranks().get(0).work().updatedParameters(), "parameters updated on the host");
        Advice.Choice change =
                advice(gpus, given).smallestChange(job(List.of(given))).orElseThrow();
        assertEquals(List.of("zero.offload_optimizer=true"), change.overrides());
    }

    /** Of a prefix made through linear maps only the keys and values are left: 128 of 28 layers, 2 groups of 128, two of them, fp32. */
    @Test
    void aProjectedPrefixIsSmallInTheEnd() {
        JobPlan plan = Planner.plan(job(List.of("method={type: p_tuning_v2, projection: true}")), MODEL);
        assertEquals(128L * 28 * 2 * 128 * 2 * 4, plan.finalBytes());
        assertEquals(2 * 6_243_584_000L, Planner.plan(job(List.of()), MODEL).finalBytes());
    }

    @Test
    void nothingHelpsWhereAUnitIsTooLarge() {
        assertEquals(Optional.empty(), advice(Gpus.parse("2x1GiB")).smallestChange(job(List.of())));
    }

    @Test
    void whatIsSuggestedFitsAndTheFastestComesFirst() {
        List<Advice.Choice> choices = advice(Gpus.parse("2x24GiB")).fastest(job(List.of()));
        assertFalse(choices.isEmpty());
        double before = 0;
        for (Advice.Choice choice : choices) {
            assertTrue(choice.fit().fits());
            assertEquals(job(choice.overrides()), choice.fit().job());
            assertTrue(
                    choice.fit().estimate().seconds() >= before - 0.01,
                    choice.overrides().toString());
            before = choice.fit().estimate().seconds();
        }
        assertTrue(choices.stream().anyMatch(c -> !c.fit().job().gradientCheckpointing()));
        JobConfig onLarge = advice(Gpus.parse("2x80GiB"))
                .fastest(job(List.of()))
                .get(0)
                .fit()
                .job();
        assertFalse(onLarge.zero().offloadOptimizer(), "where there is room the GPU's AdamW is the fastest");
    }

    /** Twice the tokens, about twice the work; half the ranks' share is half the work of each. */
    @Test
    void workIsCounted() {
        RankPlan one = Planner.plan(job(List.of()), MODEL).ranks().get(0);
        double tokens = 4 * 1560;
        double parameters = 6.24e9 - 65024 * 4096.0; // the embedding is not multiplied with
        assertEquals(
                6 * parameters * tokens,
                one.work().matrixFlops(),
                0.1 * one.work().matrixFlops());
        RankPlan more = Planner.plan(job(List.of("train.global_batch_size=16")), MODEL)
                .ranks()
                .get(0);
        assertEquals(2, more.work().matrixFlops() / one.work().matrixFlops(), 1e-6);
        // Of two ranks each sends half of every unit: parameters twice, forward and backward, and gradients once, two
        // bytes each.
        double units = 6.24e9 * 2 / 2;
        assertEquals(3 * units, one.work().sentBytes(), 0.1 * 3 * units);
        assertEquals(6_243_584_000L / 2, one.work().updatedParameters(), 1000);
    }
}
