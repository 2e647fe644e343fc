package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.plan.PlanCollectives;
import org.shardloom.kernels.plan.PlanDevice;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
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

    private static PackedBatch batch(DecoderConfig model, Random random, boolean longest) {
        List<int[]> ids = new ArrayList<>();
        for (int sample = 0; sample < 2; sample++) {
            int length = longest ? LONGEST : 20 + random.nextInt(LONGEST - 19);
            ids.add(Planner.batch(model, 1, length).ids());
        }
        return PackedBatch.of(ids, ids);
    }
}
