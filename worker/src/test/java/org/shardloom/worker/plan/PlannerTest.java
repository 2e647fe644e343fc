package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.weights.SharedFixtures;

/** Real models at their real shapes: micro-batches of one sample of 1,560 tokens, recomputation, bf16. */
@Timeout(60)
class PlannerTest {
    private static final double GB = 1e9;

    static JobPlan plan(String model, int workers, String method, String... overrides) {
        Path directory = SharedFixtures.shared("facts/models/" + model);
        String yaml = "model: {path: " + directory + "}\ndata: {train: /none.jsonl}\noutput_dir: /none\n"
                + "train: {micro_batch_size: 1, global_batch_size: " + workers + "}\n"
                + "workers: " + workers + "\nmethod: " + method + "\n";
        JobConfig job = JobFile.parse(yaml, "job.yaml", List.of(overrides)).config();
        DecoderConfig config = ModelConfigReader.read(directory);
        return Planner.plan(job, config);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "chatglm2-6b|4|{type: full}|zero.stage=3|7.0",
                "chatglm3-6b|4|{type: full}|zero.stage=3|7.0",
                "chatglm-6b|4|{type: full}|zero.stage=3|8.0",
                "chatglm2-6b|4|{type: full}|zero.offload_params=true|4.5",
                "chatglm3-6b|4|{type: full}|zero.offload_params=true|4.5",
                "chatglm-6b|4|{type: full}|zero.offload_params=true|4.5",
                "chatglm2-6b|1|{type: freeze, last_layers: 4}|zero.stage=3|15.5",
                "chatglm-6b|1|{type: freeze, last_layers: 4}|zero.stage=3|15.5",
                "chatglm2-6b|1|{type: lora}|zero.stage=3|14.0",
                "chatglm-6b|1|{type: lora}|zero.stage=3|14.0",
                "chatglm2-6b|1|{type: p_tuning_v2}|zero.stage=3|14.0",
                "chatglm2-6b|1|{type: p_tuning_v2, projection: true}|zero.stage=3|16.0",
                "chatglm-6b|1|{type: p_tuning_v2}|zero.stage=3|14.0",
                "chatglm-6b|1|{type: p_tuning_v2, projection: true}|zero.offload_params=true|16.0",
                "chatglm2-6b|1|{type: qlora}|zero.stage=3|6.0",
                "chatglm-6b|1|{type: qlora}|zero.stage=3|6.0"
            })
    void peaksStayWithinTheirLimits(String model, int workers, String method, String setting, double limit) {
        JobPlan plan = plan(model, workers, method, setting);
        assertTrue(plan.devicePeakBytes() <= limit * GB, plan.devicePeakBytes() / GB + " GB");
        for (RankPlan rank : plan.ranks()) {
            assertEquals(0, rank.laterAllocations(), "a second step needs no more than the first");
            long inUse = rank.devicePeakByPurpose().values().stream()
                    .mapToLong(Long::longValue)
                    .sum();
            assertEquals(inUse, Collections.max(rank.devicePeakByPhase().values()));
            assertTrue(inUse <= rank.devicePeakBytes() && inUse > 0.9 * rank.devicePeakBytes(), inUse + " in use");
        }
        if (method.equals("{type: full}") && setting.startsWith("zero.stage")) {
            long small = plan.hostBytes() - 16 * plan.trainedParameters();
            assertTrue(small >= 0 && small < 1 << 16, "bytes of host memory beside 16 a parameter: " + small);
        }
    }
}
