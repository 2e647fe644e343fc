package org.shardloom.worker.loop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.FinalModel;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.optim.LearningRate;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.plan.Planner;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Placement;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.StepResult;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * A worker's work, on its engine thread: everything is called by that one thread and may block there. What others do to end that is to
 * give the signal of the generation.
 */
public final class Session implements AutoCloseable {
    /** For which a rank waits, at the end of a planned generation, for those that do not come; and at the end of its process. */
    private static final Duration PARTING = Duration.ofSeconds(10), LAST_PARTING = Duration.ofSeconds(1);

    private final JobConfig job;
    private final RunSecret secret;
    private final WorkerDevice own;
    private final Device device;
    private final DecoderConfig model;
    private final TunedModel tuned;
    private final TrainingData data;
    private final LearningRate schedule;
    private final StartingState states;
    private final Evaluation evaluation;
    private final MemoryPeaks peaks;
    private final String contentDigest;
    private ZeroEngine engine;
    private AbortSignal signal = new AbortSignal();
    private long generation;
    private int workerId;
    private int rank;
    private int worldSize;
    private TrainingState state = TrainingState.START;

    /** Reads configuration and data; no weights yet. */
    public Session(JobConfig job, RunSecret secret, int threads) {
        this.job = job;
        this.secret = secret;
        this.own = WorkerDevice.open(job, threads);
        this.device = own.get();
        this.model = ModelConfigReader.read(job.model().path());
        this.data = TrainingData.load(job, model);
        this.tuned = Tuning.of(model, job.method().tuning());
        this.states = new StartingState(job);
        this.evaluation = job.evaluation().everySteps() > 0
                ? new Evaluation(job, model, job.outputDir().resolve(".token-cache"))
                : null;
        this.contentDigest = data.digest(model.toString());
        this.peaks = new MemoryPeaks(device.statistics());
        this.schedule = new LearningRate(job.train().learningRate(), job.train().schedule(), data.totalSteps());
    }

    /** Why this process can compute nothing any more, if so. */
    public Optional<String> deviceLost() {
        return device.lost();
    }

    /** What this worker computes on: {@code cpu}, {@code cuda:1}. */
    public String deviceName() {
        return device.name();
    }

    /** Equal where the model's configuration and the samples are. */
    public String contentDigest() {
        return contentDigest;
    }

    /**
     * Begins a generation: forms its group, and loads, draws or takes over this rank's state.
     *
     * @param rendezvous by name of the group
     * @param signal gives the generation up, from any thread
     * @throws CollectiveException when the generation is given up meanwhile
     */
    public Ready start(
            StartGeneration message, int ownWorkerId, Function<String, Rendezvous> rendezvous, AbortSignal signal)
            throws IOException {
        NativeCpu.useThreads(threads(message.members(), ownWorkerId));
        workerId = ownWorkerId;
        generation = message.generation();
        this.signal = signal;
        Member self = message.members().stream()
                .filter(m -> m.workerId() == workerId)
                .findFirst()
                .orElseThrow();
        List<Member> ranks = message.members().stream()
                .filter(m -> m.rank() >= 0)
                .sorted(Comparator.comparingInt(Member::rank))
                .toList();
        ZeroEngine before = engine;
        engine = null;
        ZeroEngine next = null;
        Optional<String> said = Optional.empty();
        boolean handover = message.origin() == WorkerMessage.Origin.RESHARD;
        try {
            if (!handover) {
                ZeroEngine old = before;
                before = null; // not once more where this fails
                close(old);
                peaks.reset();
            }
            signal.check();
            if (before != null && !device.sharesHostMemory()) {
                Parting.from(before.group(), PARTING, signal);
                refuseLost();
                // Its optimizer's state is all that is handed over, by the host.
                before.retire();
            }
            refuseLost();
            // What was reserved was for the steps of the engine before.
            device.unreserve();
            device.trim();
            if (self.rank() >= 0) {
                Collectives group = Groups.ofDevices(
                        device,
                        job.zero().fixedOrder(),
                        rendezvous.apply("ranks"),
                        ranks,
                        self.rank(),
                        secret,
                        collectiveTimeout(),
                        signal);
                next = newEngine(group, handover);
            }
            state = switch (message.origin()) {
                case START -> states.fresh(next);
                case CHECKPOINT -> states.restore(next, Path.of(message.checkpoint()), contentDigest);
                case RESHARD -> takeOver(message, self, before, next, rendezvous, signal);
            };
            if (next != null) {
                next.optimizer().restoreUpdates(state.updates());
                next.scaler().restore(state.lossScale(), state.goodSteps());
                next.restoreGuard(state.guard());
                next.publishMaster();
                said = message.origin() == WorkerMessage.Origin.START ? describeAdapter(next) : Optional.empty();
            }
            engine = next;
            next = null;
        } finally {
            try {
                close(next);
            } finally {
                close(before);
            }
        }
        if (handover) {
            // Two generations' state was here meanwhile: what was held for the old one is not the new one's.
            peaks.reset();
        }
        rank = self.rank();
        worldSize = ranks.size();
        return new Ready(
                generation,
                workerId,
                data.totalSteps(),
                engine == null ? List.of() : engine.plan().units(),
                Files.readString(job.model().path().resolve("config.json")),
                data.summary()
                        + (evaluation == null ? "" : "; " + evaluation.summary())
                        + said.map(text -> "; " + text).orElse(""),
                state);
    }

    private Optional<String> describeAdapter(ZeroEngine ready) {
        return job.model().adapter().map(adapter -> StartProbe.describe(ready, device, longest(), dtype(), adapter));
    }

    private void refuseLost() {
        Optional<String> lost = device.lost();
        if (lost.isPresent()) {
            throw new IllegalStateException(lost.get());
        }
    }

    /**
     * How long an operation waits for a peer. Peers that are dead or hang are found by the cluster, which then aborts the group; this
     * only bounds how far apart ranks may be in their work, such as one that still reads its part of a large checkpoint.
     */
    private Duration collectiveTimeout() {
        return Duration.ofMillis(Math.round(1000 * job.cluster().collectiveTimeoutSeconds()));
    }

    /** The job's choice, or this host's processors divided by the workers on it. */
    private int threads(List<Member> members, int ownWorkerId) {
        if (job.threadsPerWorker() > 0) {
            return job.threadsPerWorker();
        }
        String host = members.stream()
                .filter(m -> m.workerId() == ownWorkerId)
                .findFirst()
                .orElseThrow()
                .hostKey();
        long sharing = members.stream()
                .filter(m -> m.rank() >= 0 && m.hostKey().equals(host))
                .count();
        return (int) Math.max(1, Runtime.getRuntime().availableProcessors() / Math.max(1, sharing));
    }

    private DType dtype() {
        return switch (job.precision()) {
            case BF16 -> DType.BF16;
            case FP16 -> DType.F16;
            case FP32 -> DType.F32;
        };
    }

    /** Of the sequences that come. */
    private int longest() {
        return Math.max(data.longest(), evaluation == null ? 0 : evaluation.longest());
    }

    private ZeroEngine newEngine(Collectives group, boolean stateComes) {
        EngineConfig config = new EngineConfig(
                dtype(),
                job.zero().stage(),
                job.gradientCheckpointing(),
                job.train().optimizer(),
                job.train().maxGradNorm(),
                longest(),
                job.train().spike(),
                new Placement(job.zero().offloadOptimizer(), job.zero().offloadParams()),
                Planner.rounds(job.withWorkers(group.size())) == 1);
        ZeroEngine made = null;
        try {
            made = new ZeroEngine(tuned, config, device, group, stateComes);
            if (!device.sharesHostMemory()) {
                device.reserve(Planner.passingBytes(
                        job.withWorkers(group.size()),
                        model,
                        data.longest(),
                        evaluation == null ? 0 : evaluation.longestSample()));
            }
            return made;
        } catch (RuntimeException e) {
            group.abort("a rank could not set up: " + e.getMessage());
            group.close();
            if (made != null && device.lost().isEmpty()) {
                made.close();
            }
            throw e;
        }
    }

    /** Moves master weights and moments from their old owners straight to their new ones. */
    private TrainingState takeOver(
            StartGeneration message,
            Member self,
            ZeroEngine before,
            ZeroEngine next,
            Function<String, Rendezvous> rendezvous,
            AbortSignal signal)
            throws IOException {
        List<Member> all = message.members();
        int own = all.indexOf(self);
        if (next != null) {
            next.stateToHost();
        }
        Handover handover = new Handover(tuned.trained(), all, own, shard(before), shard(next), device);
        // What moves lies in the hosts' memory, whatever device computes.
        Collectives movers = Groups.join(rendezvous.apply("movers"), all, own, secret, collectiveTimeout(), signal);
        try {
            handover.run(movers);
        } finally {
            movers.close();
        }
        if (next != null) {
            next.stateHome();
            device.trim(); // page-locked memory that the state came through
            states.frozen(next);
        }
        return message.state();
    }

    private static OptimizerShard shard(ZeroEngine of) {
        return of == null ? null : of.optimizer();
    }

    /** Does a step. */
    public StepDone step(long step) {
        long started = System.nanoTime();
        double learningRate = schedule.at(step);
        StepInput input = data.share(step, worldSize, rank, learningRate);
        long tokens = input.microBatches().stream().mapToLong(b -> b.tokens()).sum();
        StepResult result = engine.step(input);
        state = new TrainingState(
                step,
                engine.optimizer().updates(),
                engine.scaler().scale(),
                engine.scaler().goodSteps(),
                engine.guardState());
        StepReport report = new StepReport(
                result.loss(),
                result.gradNorm(),
                result.applied(),
                learningRate,
                tokens,
                data.epochAfter(step),
                (System.nanoTime() - started) * 1e-9,
                result.seconds(),
                peaks.deviceBytes(),
                peaks.residentBytes());
        if (evaluation != null && evaluation.isDue(step, data.totalSteps())) {
            report = report.with(evaluation.run(engine, device, rank, worldSize));
        }
        return new StepDone(generation, workerId, state, report);
    }

    /** Writes this rank's shard. */
    public ShardWritten save(long step, Path directory) throws IOException {
        ShardFiles.Written written = ShardFiles.write(directory, engine.plan(), rank, engine.optimizer());
        return new ShardWritten(generation, workerId, step, rank, written.file(), written.bytes(), written.checksum());
    }

    /** Turns a checkpoint into what the run leaves behind, in the training dtype. */
    public Exported export(Path checkpointDirectory, Path target) throws IOException {
        WeightDtype dtype =
                switch (job.precision()) {
                    case BF16 -> WeightDtype.BF16;
                    case FP16 -> WeightDtype.F16;
                    case FP32 -> WeightDtype.F32;
                };
        try (Checkpoint checkpoint = Checkpoint.open(checkpointDirectory, false)) {
            FinalModel.write(checkpoint, job, target, dtype, 5_000_000_000L);
        }
        return new Exported(generation, workerId, target.toString());
    }

    private void close(ZeroEngine old) {
        if (old != null) {
            old.group().abort("the generation has ended");
            old.group().close();
            if (device.lost().isEmpty()) { // else all goes with the process
                try {
                    old.close();
                } finally {
                    device.trim();
                }
            }
        }
    }

    /** In good order, with the other ranks that come, unless the signal of the generation was given. */
    @Override
    public void close() {
        if (engine != null
                && signal.reason() == null
                && !device.sharesHostMemory()
                && device.lost().isEmpty()) {
            Parting.from(engine.group(), LAST_PARTING, signal);
        }
        close(engine);
        engine = null;
        if (evaluation != null) {
            evaluation.close();
        }
        own.close();
    }
}
