package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.collective.nccl.AloneOnDevice;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.OnlySimulated;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.optim.StateWindow;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.CudaRanks;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * What a plan finds is what the engine asks a CUDA driver for, to the byte: measured by the simulated driver, which also counts what must not
 * happen within steps. No GPU takes part.
 */
@OnlySimulated("what it counts")
@Timeout(300)
class PlannedPeaksTest {
    /** Of samples and answers that need more than a step does. */
    private static final String EVALUATED =
            "data.eval=/none.jsonl evaluation.every_steps=1 evaluation.prompts=64 evaluation.max_new_tokens=60";

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "tiny-chatglm3|{type: full}|bf16|2|zero.stage=3",
                "tiny-chatglm3|{type: full}|fp32|1|zero.offload_params=true",
                "tiny-chatglm3|{type: full}|bf16|2|train.max_grad_norm=0",
                "tiny-chatglm1|{type: full}|bf16|1|gradient_checkpointing=false",
                "tiny-chatglm3|{type: full}|bf16|2|zero.offload_optimizer=false",
                "tiny-chatglm3|{type: lora, rank: 4}|bf16|1|zero.offload_optimizer=false",
                "tiny-chatglm3|{type: lora, rank: 4, dropout: 0.1}|bf16|1|zero.stage=3",
                "tiny-chatglm3|{type: lora, rank: 4}|bf16|1|zero.offload_params=true",
                "tiny-chatglm3|{type: qlora, rank: 4}|bf16|1|zero.stage=3",
                "tiny-chatglm1|{type: p_tuning_v2, prefix_length: 8, projection: true}|fp16|1|zero.stage=3",
                "tiny-chatglm3|{type: lora, rank: 4}|bf16|1|" + EVALUATED,
                "tiny-chatglm1|{type: p_tuning_v2, prefix_length: 8}|bf16|1|zero.offload_params=true " + EVALUATED
            })
    void planEqualsTheDriver(String fixture, String method, String precision, int samples, String setting)
            throws IOException {
        JobConfig job = job(fixture, method, precision, samples, setting, 1);
        DecoderConfig model = ModelConfigReader.read(job.model().path());
        RankPlan planned = Planner.plan(job, model).ranks().get(0);
        TunedModel tuned = Tuning.of(model, job.method().tuning());
        PaperEvaluation evaluation = PaperEvaluation.of(job, 24);
        EngineConfig config = Planner.engine(job, Math.max(24, evaluation.positions(model)));
        SimulatedDriver.start(1, 256L << 20, 3, 0);
        try (CudaDevice device = new CudaDevice(0, SimulatedDriver.images());
                AloneOnDevice group = new AloneOnDevice(device);
                ZeroEngine engine = new ZeroEngine(tuned, config, device, group)) {
            device.reserve(planned.passingBytes());
            StartWeights.fillAll(job.model(), 1, engine);
            device.statistics().resetPeak();
            PeakRecorder peaks = new PeakRecorder(device.statistics());
            engine.observePhases(peaks::begin);
            engine.publishMaster();
            StepInput step = Planner.step(job, 0, Planner.batch(model, 1, 24));
            engine.step(step);
            engine.step(step);
            evaluation.run(engine, device, peaks::begin);
            assertEquals(planned.devicePeakBytes(), SimulatedDriver.peakBytes(0), "device memory");
            new StateWindow(engine.optimizer(), ShardFiles.PIECE).close();
            assertEquals(planned.pinnedHostBytes(), SimulatedDriver.pinnedPeakBytes(0), "page-locked memory");
            assertEquals(planned.devicePeakByPhase(), peaks.byPhase(), "device memory by phase");
            assertEquals(planned.devicePeakByPurpose(), peaks.byPurpose(), "device memory by purpose");
            long allocations = SimulatedDriver.allocations();
            engine.step(step);
            assertEquals(allocations, SimulatedDriver.allocations(), "a third step allocates");
            assertEquals(0, SimulatedDriver.pageableCopies(), "copies of pageable memory");
            assertEquals(0, SimulatedDriver.deviceWaits(0), "waits for the whole device");
        }
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    /** With NCCL between the ranks, whose pieces are the largest part of so small a model's memory. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "tiny-chatglm3|{type: full}|zero.stage=3|bf16",
                "tiny-chatglm1|{type: full}|zero.stage=2|bf16",
                "tiny-chatglm2|{type: full}|zero.offload_params=true|fp32",
                "tiny-chatglm2|{type: full}|zero.offload_optimizer=false|bf16",
                "tiny-chatglm3|{type: lora, rank: 4, targets: all}|zero.stage=3|bf16",
                "tiny-chatglm1|{type: p_tuning_v2, prefix_length: 8, projection: true}|zero.offload_params=true|bf16"
            })
    void planOfSeveralRanksEqualsTheirDrivers(String fixture, String method, String setting, String precision)
            throws Exception {
        JobConfig job = job(fixture, method, precision, 6, setting, 4);
        DecoderConfig model = ModelConfigReader.read(job.model().path());
        List<RankPlan> planned = Planner.plan(job, model).ranks();
        TunedModel tuned = Tuning.of(model, job.method().tuning());
        List<List<Long>> peaks = CudaRanks.run(4, 3, 0, (device, group) -> {
            try (ZeroEngine engine = new ZeroEngine(tuned, Planner.engine(job, 24), device, group)) {
                device.reserve(planned.get(group.rank()).passingBytes());
                StartWeights.fillAll(job.model(), 1, engine);
                engine.publishMaster();
                StepInput step = Planner.step(job, group.rank(), Planner.batch(model, 1, 24));
                engine.step(step);
                engine.step(step);
                new StateWindow(engine.optimizer(), ShardFiles.PIECE).close();
                return List.of(SimulatedDriver.peakBytes(group.rank()), SimulatedDriver.pinnedPeakBytes(group.rank()));
            }
        });
        assertEquals(
                planned.stream()
                        .map(rank -> List.of(rank.devicePeakBytes(), rank.pinnedHostBytes()))
                        .toList(),
                peaks);
    }

    private static JobConfig job(
            String fixture, String method, String precision, int samples, String setting, int workers) {
        Path directory = SharedFixtures.require(fixture).resolve("safetensors-fp32");
        String yaml =
                "model: {path: " + directory + "}\ndata: {train: /none.jsonl, max_length: 24}\noutput_dir: /none\n"
                        + "train: {micro_batch_size: 1, global_batch_size: " + samples + "}\nprecision: " + precision
                        + "\nworkers: " + workers + "\nmethod: " + method + "\n";
        return JobFile.parse(yaml, "job.yaml", List.of(setting.split(" "))).config();
    }
}
