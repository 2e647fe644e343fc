package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.plan.Work;
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
                "chatglm2-6b|1|{type: p_tuning_v2, projection: true}|zero.stage=3|14.0",
                "chatglm2-6b|4|{type: p_tuning_v2, projection: true}|zero.stage=3|5.3",
                "chatglm2-6b|4|{type: lora, targets: all}|zero.stage=3|5.0",
                "chatglm-6b|1|{type: p_tuning_v2}|zero.stage=3|14.0",
                "chatglm-6b|1|{type: p_tuning_v2, projection: true}|zero.stage=3|16.0",
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
        if (method.equals("{type: full}")) {
            // Parameters of two bytes are the host's, too, where they are offloaded.
            double most = setting.contains("offload_params") ? 17.8 : 15.8;
            double each = (double) plan.hostBytes() / plan.trainedParameters();
            assertTrue(each <= most && each > most - 0.5, each + " bytes of host memory a parameter");
        }
    }

    /** Where gradients are added up, the host adds those of all units, and they come in two pieces of 4 MB. */
    @Test
    void severalMicroBatchesAreAddedOnTheHost() {
        JobPlan plan = plan("chatglm2-6b", 4, "{type: full}", "train.global_batch_size=16");
        long small = plan.hostBytes() - 16 * plan.trainedParameters();
        assertTrue(small < 4 * (10L << 20), "bytes of host memory beside 16 a parameter: " + small);
    }

    /** An evaluation is in the plan: where it takes more than a step, as with ChatGLM-6B's many keys and values, the peak is its own. */
    @ParameterizedTest
    @CsvSource({"chatglm3-6b,4,false", "chatglm-6b,4,true", "chatglm3-6b,64,true"})
    void evaluationsAreCounted(String model, int prompts, boolean most) {
        String[] settings = {
            "data.eval=/none.jsonl",
            "evaluation.every_steps=10",
            "evaluation.prompts=" + prompts,
            "evaluation.max_new_tokens=512"
        };
        RankPlan without = plan(model, 1, "{type: qlora}").ranks().get(0);
        RankPlan with = plan(model, 1, "{type: qlora}", settings).ranks().get(0);
        long evaluation = with.devicePeakByPhase().get("evaluation");
        assertEquals(
                most, evaluation == Collections.max(with.devicePeakByPhase().values()));
        assertEquals(most, with.devicePeakBytes() > without.devicePeakBytes() + (1 << 20), evaluation + " bytes");
        assertEquals(without.work().sentBytes(), with.work().sentBytes(), "a step is not made longer");
    }

    /** Of three rounds what all of them would have counted; the last round of some ranks is idle. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "1|{type: full}|zero.stage=3|false",
                "2|{type: full}|zero.stage=3|false",
                "2|{type: full}|zero.stage=2|false",
                "2|{type: full}|zero.offload_params=true|false",
                "2|{type: full}|zero.offload_optimizer=false|false",
                "2|{type: full}|zero.fixed_order=false|false",
                "2|{type: full}|zero.stage=3|true",
                "1|{type: lora, dropout: 0.1}|gradient_checkpointing=false|false",
                "2|{type: qlora}|zero.stage=3|false"
            })
    void roundsThatAreLeftOutAreCounted(int workers, String method, String setting, boolean onHost) {
        for (int rounds : new int[] {4, 7, 64}) {
            JobConfig job = JobFile.parse(
                            "model: {path: /none}\ndata: {train: /none.jsonl}\noutput_dir: /none\n"
                                    + "train: {micro_batch_size: 2, global_batch_size: "
                                    + 2 * (rounds * workers - (workers - 1)) + "}\nworkers: " + workers + "\nmethod: "
                                    + method + "\n",
                            "job.yaml",
                            List.of(setting))
                    .config();
            JobPlan few = Planner.plan(job, SMALL, 24, onHost, 3);
            JobPlan all = Planner.plan(job, SMALL, 24, onHost, Integer.MAX_VALUE);
            for (int rank = 0; rank < workers; rank++) {
                RankPlan expected = all.ranks().get(rank), planned = few.ranks().get(rank);
                assertEquals(numbers(expected), numbers(planned), rounds + " rounds, rank " + rank);
                assertEquals(expected.devicePeakByPurpose(), planned.devicePeakByPurpose());
                assertEquals(expected.devicePeakByPhase(), planned.devicePeakByPhase());
            }
        }
    }

    private static final DecoderConfig SMALL = new DecoderConfig(
            DecoderConfig.Names.CHATGLM,
            96,
            32,
            3,
            new AttentionShape(4, 2, 8, 4, true),
            48,
            1e-5f,
            10000,
            64,
            true,
            false);

    private static List<Number> numbers(RankPlan rank) {
        Work work = rank.work();
        return List.of(
                work.matrixFlops(),
                work.memoryBytes(),
                work.sentBytes(),
                work.toHostBytes(),
                work.toDeviceBytes(),
                work.updatedParameters(),
                rank.devicePeakBytes(),
                rank.pinnedHostBytes(),
                rank.laterAllocations());
    }

    /** Of two ranks each sends half: parameters twice, of two bytes, and gradients once, of two bytes or, where NCCL adds them, of four. */
    @ParameterizedTest
    @CsvSource({"true,2", "false,4"})
    void gradientsThatNcclAddsAreSentInFp32(boolean fixedOrder, int bytes) {
        JobPlan plan = plan("chatglm3-6b", 2, "{type: full}", "zero.fixed_order=" + fixedOrder);
        double half = plan.parameters() / 2.0;
        RankPlan rank = plan.ranks().get(0);
        assertEquals(half * (2 * 2 + bytes), rank.work().sentBytes(), 0.2 * half);
    }

    /** Micro-batches one after the other: as often the products of one, and each brings the gradient of every parameter to the host. */
    @Test
    void aThousandMicroBatchesAreCounted() {
        RankPlan one = plan("chatglm3-6b", 1, "{type: full}").ranks().get(0);
        JobPlan plan = plan("chatglm3-6b", 1, "{type: full}", "train.global_batch_size=1024");
        RankPlan many = plan.ranks().get(0);
        assertEquals(
                1024 * one.work().matrixFlops(),
                many.work().matrixFlops(),
                1e-9 * many.work().matrixFlops());
        long parameters = plan.trainedParameters();
        assertEquals(parameters, many.work().updatedParameters());
        assertEquals(
                1024.0 * 4 * parameters,
                many.work().toHostBytes(),
                1e-4 * many.work().toHostBytes());
        assertEquals(0, many.work().sentBytes());
        assertEquals(one.devicePeakBytes(), many.devicePeakBytes());
    }
}
