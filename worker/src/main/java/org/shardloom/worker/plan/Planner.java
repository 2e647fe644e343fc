package org.shardloom.worker.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.kernels.plan.PlanCollectives;
import org.shardloom.kernels.plan.PlanDevice;
import org.shardloom.kernels.plan.Work;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.Precision;
import org.shardloom.protocol.config.SpikeConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.plan.StepShares;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.PrefixPositions;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.StateWindow;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Placement;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * Runs two steps of the real engine on {@link PlanDevice}s, at the model's real shapes, with samples of the longest length in which every
 * token is learned: no step of the job needs more. Of a step's rounds of micro-batches three are run, the first, one like all between, and
 * the last; the work of those left out is that of the one between. An evaluation follows where the job has any. Neither weights nor data are
 * read.
 */
public final class Planner {
    /** fp32 master weight and two moments. */
    private static final int STATE_BYTES = 12;

    /** With fewer, none is between the first and the last. */
    private static final int ROUNDS = 3;

    private Planner() {}

    /**
     * Plans the job for GPUs, whatever its device.
     *
     * @throws org.shardloom.worker.tuning.TuningException when the method does not go with the model
     */
    public static JobPlan plan(JobConfig job, DecoderConfig model) {
        return plan(job, model, job.data().maxLength());
    }

    /**
     * Plans the job for GPUs, with training samples of another length. Those of evaluations are as long as there may be.
     *
     * @param length tokens of the longest sample
     */
    public static JobPlan plan(JobConfig job, DecoderConfig model, int length) {
        return plan(job, model, length, false, ROUNDS);
    }

    /**
     * Plans what the job surely needs of GPUs, whatever other samples its longest meets in a micro-batch, and whatever it is evaluated with.
     *
     * @param length tokens of the longest sample
     */
    public static JobPlan planAtLeast(JobConfig job, DecoderConfig model, int length) {
        return plan(job, model, batch(model, 1, length), PaperEvaluation.of(job, 0), false, ROUNDS);
    }

    /**
     * Plans the job for workers on the processors of one host: device memory is the host's. What all ranks see as one, each counts as
     * gathered while it reads the others' parts.
     *
     * @param length tokens of the longest sample
     */
    public static JobPlan planOnHost(JobConfig job, DecoderConfig model, int length) {
        return plan(job, model, length, true, ROUNDS);
    }

    /** As {@link #planAtLeast} for workers on the processors of one host. */
    public static JobPlan planAtLeastOnHost(JobConfig job, DecoderConfig model, int length) {
        return plan(job, model, batch(model, 1, length), PaperEvaluation.of(job, 0), true, ROUNDS);
    }

    /**
     * Bytes that a rank's GPU needs for all that comes and goes within steps and evaluations.
     *
     * @param length tokens of the longest sample
     * @param evaluated tokens of the longest sample of the evaluation file
     */
    public static long passingBytes(JobConfig job, DecoderConfig model, int length, int evaluated) {
        PackedBatch batch = batch(model, job.train().microBatchSize(), length);
        PaperEvaluation evaluation = PaperEvaluation.of(job, evaluated);
        return rank(job, Tuning.of(model, job.method().tuning()), 0, batch, evaluation, false, ROUNDS)
                .passingBytes();
    }

    /**
     * Plans the job with as long samples as there may be.
     *
     * @param mostRounds that are run, at least 3
     */
    static JobPlan plan(JobConfig job, DecoderConfig model, int length, boolean onHost, int mostRounds) {
        PackedBatch batch = batch(model, job.train().microBatchSize(), length);
        return plan(job, model, batch, PaperEvaluation.of(job, model), onHost, mostRounds);
    }

    private static JobPlan plan(
            JobConfig job,
            DecoderConfig model,
            PackedBatch batch,
            PaperEvaluation evaluation,
            boolean onHost,
            int mostRounds) {
        TunedModel tuned = Tuning.of(model, job.method().tuning());
        List<RankPlan> ranks = new ArrayList<>();
        // Ranks with as many micro-batches do the same.
        Map<Integer, RankPlan> byMicroBatches = new HashMap<>();
        for (int rank = 0; rank < job.workers(); rank++) {
            int own = shares(job, rank).own().length;
            if (!byMicroBatches.containsKey(own)) {
                byMicroBatches.put(own, rank(job, tuned, rank, batch, evaluation, onHost, mostRounds));
            }
            ranks.add(byMicroBatches.get(own).ofRank(rank));
        }
        long own = count(tuned.units().stream().filter(u -> !u.added()).toList());
        long trained = count(tuned.trained());
        boolean added = tuned.units().stream().anyMatch(UnitSpec::added);
        long checkpoint = trained * STATE_BYTES;
        long copies = job.checkpoint().everySteps() == 0
                ? 1
                : job.checkpoint().keepLast() + job.checkpoint().keepBest() + 1L;
        return new JobPlan(
                own,
                trained,
                ranks,
                checkpoint,
                copies * checkpoint,
                added ? 4 * written(job, model) : own * dtype(job).bytes);
    }

    /** Parameters of the adapter or prefix that the run ends with: of projected prefixes, what they come to. */
    private static long written(JobConfig job, DecoderConfig model) {
        TuningMethod method = job.method().tuning();
        return count(Tuning.of(model, method instanceof TuningMethod.PTuningV2 prefix ? prefix.projected() : method)
                .trained());
    }

    private static long count(List<UnitSpec> units) {
        return units.stream().mapToLong(UnitSpec::parameterCount).sum();
    }

    private static RankPlan rank(
            JobConfig job,
            TunedModel model,
            int rank,
            PackedBatch batch,
            PaperEvaluation evaluation,
            boolean onHost,
            int mostRounds) {
        int rounds = rounds(job);
        int run = Math.min(rounds, mostRounds);
        EngineConfig config = engine(job, Math.max(length(batch), evaluation.positions(model.config())));
        try (PlanDevice device = new PlanDevice(onHost);
                PlanCollectives group = new PlanCollectives(
                        rank, job.workers(), device, job.zero().fixedOrder());
                ZeroEngine engine = new ZeroEngine(model, config, device, group)) {
            device.allocator().reserveEndless();
            PeakRecorder peaks = new PeakRecorder(device.statistics());
            engine.observePhases(peaks::begin);
            engine.publishMaster();
            StepInput step = step(job, rank, batch, rounds - run);
            engine.step(step);
            long takes = device.allocator().takes();
            device.work().reset();
            engine.step(step);
            Work work = device.work().copy();
            if (run < rounds) {
                Work more = work.copy();
                device.work().reset();
                engine.step(step(job, rank, batch, rounds - run + 1));
                work.repeat(more, device.work(), rounds - run);
            }
            takes = device.allocator().takes() - takes;
            evaluation.run(engine, device, peaks::begin);
            new StateWindow(engine.optimizer(), ShardFiles.PIECE).close(); // as when a checkpoint is written
            return new RankPlan(
                    rank,
                    onHost ? peaks.peak() : device.allocator().reservedPeakBytes(),
                    peaks.byPurpose(),
                    peaks.byPhase(),
                    device.pageLockedPeakBytes(),
                    device.allocator().rangeBytes(),
                    takes,
                    work);
        }
    }

    /** As a worker's, but for what steps find in their data. */
    static EngineConfig engine(JobConfig job, int longest) {
        return new EngineConfig(
                dtype(job),
                job.zero().stage(),
                job.gradientCheckpointing(),
                job.train().optimizer(),
                job.train().maxGradNorm(),
                longest,
                new SpikeConfig(SpikeConfig.Action.IGNORE, 100),
                new Placement(job.zero().offloadOptimizer(), job.zero().offloadParams()),
                rounds(job) == 1);
    }

    /** Micro-batches one after the other in each of the job's steps. */
    public static int rounds(JobConfig job) {
        return shares(job, 0).rounds();
    }

    private static StepShares shares(JobConfig job, int rank) {
        return new StepShares(job.train().globalBatchSize() / job.train().microBatchSize(), job.workers(), rank);
    }

    /** A step in which every micro-batch is the same. */
    static StepInput step(JobConfig job, int rank, PackedBatch batch) {
        return step(job, rank, batch, 0);
    }

    /** Of all but some rounds. */
    private static StepInput step(JobConfig job, int rank, PackedBatch batch, int leftOut) {
        StepShares share = shares(job, rank);
        int own = share.own().length - leftOut;
        double divisor = (double) job.train().globalBatchSize() * length(batch);
        // A key that is not 0 has dropout's memory counted where the method has dropout.
        return new StepInput(
                Collections.nCopies(own, batch),
                Collections.nCopies(own, divisor),
                Collections.nCopies(own, 1L),
                share.rounds() - leftOut,
                job.train().learningRate());
    }

    /** Of its samples, which are equal. */
    private static int length(PackedBatch batch) {
        return batch.starts()[1];
    }

    static PackedBatch batch(DecoderConfig model, int sequences, int length) {
        int[] ids = new int[length];
        for (int i = 0; i < length; i++) {
            ids[i] = i % model.vocabulary();
        }
        PrefixPositions.Markers markers = model.markers();
        if (markers != null && length > 2) {
            Arrays.setAll(ids, i -> i % Math.min(model.vocabulary(), 64));
            ids[length / 2 - 1] = markers.gMask();
            ids[length / 2] = markers.start();
        }
        return PackedBatch.of(Collections.nCopies(sequences, ids), Collections.nCopies(sequences, ids));
    }

    private static DType dtype(JobConfig job) {
        if (job.precision() == Precision.FP32) {
            return DType.F32;
        }
        return job.precision() == Precision.FP16 ? DType.F16 : DType.BF16;
    }
}
