package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.plan.PlanCollectives;
import org.shardloom.kernels.plan.PlanDevice;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.generate.ShardedModel;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * Samples of all lengths, the longest after many short ones, need no more of a GPU than the plan of the longest says, and nothing is asked
 * for within steps. On paper, at the real models' shapes.
 */
@Timeout(120)
class MixedLengthsTest {
    private static final int LONGEST = 1560, STEPS = 40;

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "chatglm3-6b|{type: full}|4|true",
                "chatglm3-6b|{type: full}|4|false",
                "chatglm3-6b|{type: qlora, targets: all}|1|true",
                "chatglm-6b|{type: lora, dropout: 0.1}|1|false",
                "chatglm-6b|{type: p_tuning_v2, prefix_length: 128}|1|true",
                "chatglm2-6b|{type: freeze, last_layers: 4}|1|false"
            })
    void thePlanOfTheLongestIsEnough(String name, String method, int workers, boolean recompute) {
        DecoderConfig model = ModelConfigReader.read(SharedFixtures.shared("facts/models/" + name));
        String yaml = "model: {path: " + SharedFixtures.shared("facts/models/" + name) + "}\n"
                + "data: {train: /none.jsonl, max_length: " + LONGEST + "}\noutput_dir: /none\nworkers: " + workers
                + "\ntrain: {micro_batch_size: 2, global_batch_size: " + 4 * workers + "}\nmethod: " + method
                + "\ngradient_checkpointing: " + recompute + "\n";
        JobConfig job = JobFile.parse(yaml, "job.yaml", List.of()).config();
        RankPlan plan = Planner.plan(job, model).ranks().get(0);
        try (PlanDevice device = new PlanDevice();
                PlanCollectives group = new PlanCollectives(0, workers, device, true);
                ZeroEngine engine = new ZeroEngine(
                        Tuning.of(model, job.method().tuning()), Planner.engine(job, LONGEST), device, group)) {
            device.allocator().reserve(plan.passingBytes());
            engine.publishMaster();
            Random random = new Random(name.hashCode());
            long takes = 0;
            for (int step = 0; step < STEPS; step++) {
                boolean longest = step == STEPS / 2;
                List<PackedBatch> batches = List.of(batch(model, random, false), batch(model, random, longest));
                engine.step(new StepInput(batches, List.of(100.0, 100.0), List.of(1L, 1L), 2, 1e-4));
                takes = step == 0 ? device.allocator().takes() : takes;
                assertEquals(takes, device.allocator().takes(), "what the device was asked for by step " + step);
            }
            assertEquals(plan.devicePeakBytes(), device.allocator().reservedPeakBytes());
        }
    }

    /** Questions of any lengths, in any order: more short ones at once may need more than the longest. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "chatglm-6b|{type: qlora}|8",
                "chatglm-6b|{type: p_tuning_v2, prefix_length: 64}|20",
                "chatglm3-6b|{type: lora}|64"
            })
    void theirPlanIsEnoughForAllEvaluations(String name, String method, int prompts) {
        DecoderConfig model = ModelConfigReader.read(SharedFixtures.shared("facts/models/" + name));
        String yaml = "model: {path: " + SharedFixtures.shared("facts/models/" + name) + "}\n"
                + "data: {train: /none.jsonl, eval: /none.jsonl, max_length: " + LONGEST + "}\noutput_dir: /none\n"
                + "evaluation: {every_steps: 10, prompts: " + prompts + ", max_new_tokens: 128}\n"
                + "train: {micro_batch_size: 1, global_batch_size: 1}\nworkers: 1\nmethod: " + method + "\n";
        JobConfig job = JobFile.parse(yaml, "job.yaml", List.of()).config();
        RankPlan plan = Planner.plan(job, model).ranks().get(0);
        int positions = PaperEvaluation.of(job, model).positions(model);
        Random random = new Random(prompts);
        boolean reached = false;
        for (int set = 0; set < (prompts > 8 ? 12 : 60); set++) {
            List<int[]> questions = questions(model, random, prompts, set % 3);
            try (PlanDevice device = new PlanDevice();
                    PlanCollectives group = new PlanCollectives(0, 1, device, true);
                    ZeroEngine engine = new ZeroEngine(
                            Tuning.of(model, job.method().tuning()), Planner.engine(job, positions), device, group)) {
                device.allocator().reserve(plan.passingBytes());
                engine.publishMaster();
                long before = device.statistics().peakBytes();
                try (Memory memory = device.memory(Purpose.ACTIVATIONS)) {
                    ShardedModel sharded =
                            new ShardedModel(engine, engine.generation().prefix(memory), positions);
                    // Every logit is 0, and so is every token of an answer: most end with their first.
                    Set<Integer> stops = set == 0 ? Set.of() : Set.of(0);
                    new Generator(sharded, model.vocabulary(), stops, SamplingOptions.GREEDY).generate(questions, 128);
                }
                long evaluation = plan.devicePeakByPhase().get("evaluation");
                long seen = device.statistics().peakBytes();
                assertTrue(seen > before && seen <= evaluation, seen + " bytes, planned " + evaluation);
                assertTrue(device.allocator().reservedPeakBytes() <= plan.devicePeakBytes());
                reached |= seen > 0.97 * evaluation;
            }
        }
        assertTrue(reached, "the plan is not far from what may come");
    }

    /** About as long as each other; as many short ones as are read at once but for a token, and the longest; of any lengths. */
    private static List<int[]> questions(DecoderConfig model, Random random, int count, int kind) {
        int longest = kind == 1 ? LONGEST : 100 + random.nextInt(LONGEST - 99);
        List<int[]> questions = new ArrayList<>();
        int room = 1023;
        for (int q = 1; q < count; q++) {
            int length =
                    switch (kind) {
                        case 0 -> longest - random.nextInt(longest / 10);
                        case 1 -> q < count - 1 ? 3 + random.nextInt(room / (count - q) - 3) : room;
                        default -> 3 + random.nextInt(longest - 2);
                    };
            room -= length;
            questions.add(Planner.batch(model, 1, length).ids());
        }
        questions.add(Planner.batch(model, 1, longest).ids());
        if (kind != 1) {
            Collections.shuffle(questions, random);
        }
        return questions;
    }

    private static PackedBatch batch(DecoderConfig model, Random random, boolean longest) {
        List<int[]> ids = new ArrayList<>();
        for (int sample = 0; sample < 2; sample++) {
            int length = longest ? LONGEST : 20 + random.nextInt(LONGEST - 19);
            ids.add(Planner.batch(model, 1, length).ids());
        }
        return PackedBatch.of(ids, ids);
    }
}
