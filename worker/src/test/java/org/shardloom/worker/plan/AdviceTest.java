package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Predicate;
import java.util.stream.Stream;
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

    /** What waits for no norm is updated beside what the card does, in the memory that it took anyway. */
    @Test
    void anEarlyUpdateTakesLessTimeAndNoMemory() {
        Gpus gpus = Gpus.parse("2x80GiB");
        Fit late = Fit.of(job(List.of()), MODEL, gpus);
        List<String> unguarded = List.of("train.max_grad_norm=0", "train.spike.action=ignore");
        Fit early = Fit.of(job(unguarded), MODEL, gpus);
        assertEquals(late.plan().devicePeakBytes(), early.plan().devicePeakBytes());
        assertEquals(late.plan().hostBytes(), early.plan().hostBytes());
        StepEstimate e = late.estimate();
        double rest = e.seconds() - e.optimizer();
        assertEquals(
                rest + Math.max(0, e.optimizer() - 2 * rest / 3),
                early.estimate().seconds(),
                1e-9,
                "beside the last backward pass only");
        List<String> scaled = new ArrayList<>(unguarded);
        scaled.add("precision=fp16");
        assertEquals(
                e.seconds(),
                Fit.of(job(scaled), MODEL, gpus).estimate().seconds(),
                1e-6,
                "a loss scale needs the norm");
    }

    /** Where only the answers between steps are too many, training stays as it is. */
    @Test
    void fewerAnswersAreTheFirstThing() {
        List<String> given = List.of(
                "method={type: qlora}",
                "train.micro_batch_size=1",
                "gradient_checkpointing=true",
                "data.eval=/none.jsonl",
                "evaluation.every_steps=10",
                "evaluation.prompts=64");
        JobConfig job = job(given);
        List<String> fewer = new ArrayList<>(given);
        fewer.add("evaluation.prompts=1");
        Gpus gpus = Gpus.of(2, Planner.plan(job(fewer), MODEL).devicePeakBytes() + Fit.RESERVED);
        assertFalse(Fit.of(job, MODEL, gpus).fits());
        Advice.Choice change =
                advice(gpus, given.toArray(String[]::new)).smallestChange(job).orElseThrow();
        assertEquals(List.of("evaluation.prompts=1"), change.overrides());
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

    /** What was tried on the way and is not needed in the end is not asked for. */
    @Test
    void noSettingIsNamedThatTheOthersMakeNeedless() {
        List<List<String>> steps = List.of(
                List.of("a=1"), List.of("b=4"), List.of("b=2"), List.of("b=1"), List.of("c=1"), List.of("d=1", "e=1"));
        assertEquals(
                List.of("b=2", "e=1"),
                needing(steps, s -> s.contains("e=1") && (s.contains("b=2") || s.contains("b=1"))));
        assertEquals(List.of("a=1", "c=1"), needing(steps, s -> s.containsAll(List.of("a=1", "c=1"))));
        assertEquals(List.of("c=1"), needing(steps, s -> s.contains("c=1")));
        List<String> all = new ArrayList<>();
        assertEquals(Optional.empty(), Advice.firstOf(steps, all, s -> Optional.empty()));
        assertEquals(List.of("a=1", "b=1", "c=1", "d=1", "e=1"), all);
    }

    private static List<String> needing(List<List<String>> steps, Predicate<List<String>> fits) {
        return Advice.firstOf(steps, new ArrayList<>(), s -> Optional.of(s).filter(fits))
                .orElseThrow();
    }

    /** Each of the settings that is left is needed. */
    @Test
    void everySettingOfSeveralIsNeeded() {
        Gpus gpus = Gpus.parse("2x6GiB");
        List<String> change =
                advice(gpus).smallestChange(job(List.of())).orElseThrow().overrides();
        for (String setting : change) {
            List<String> others =
                    change.stream().filter(s -> !s.equals(setting)).toList();
            boolean fits = false;
            try {
                fits = Fit.of(job(others), MODEL, gpus).fits();
            } catch (JobConfigException e) {
                assertTrue(e.getMessage().contains("offload"), e.getMessage());
            }
            assertFalse(fits, setting + " of " + change);
        }
    }

    @Test
    void asFewMoreWorkersAsDoAreAskedFor() {
        assertEquals(List.of(5, 6), Advice.moreWorkers(4, 6));
        assertEquals(List.of(), Advice.moreWorkers(4, 4));
        List<Integer> many = Advice.moreWorkers(4, 64);
        assertEquals(List.of(5, 6, 7, 8, 9, 10, 11, 12, 15), many.subList(0, 9));
        assertEquals(64, many.get(many.size() - 1));
        assertTrue(many.size() <= 17, many.toString());
        // State on the GPU that offload may not leave: what each has grows smaller with every worker.
        String[] given = {"workers=4", "zero.offload_optimizer=false", "train.micro_batch_size=1"};
        Advice advice = new Advice(
                more -> more.stream().anyMatch(s -> s.startsWith("zero."))
                        ? Optional.empty()
                        : Optional.of(job(
                                Stream.concat(Stream.of(given), more.stream()).toList())),
                MODEL,
                Gpus.of(4, 26L << 30),
                6,
                OptionalInt.empty());
        List<String> change =
                advice.smallestChange(job(List.of(given))).orElseThrow().overrides();
        assertTrue(change.contains("workers=5") || change.contains("workers=6"), change.toString());
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
