package org.shardloom.worker.loop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.Function;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.message.CoordinatorMessage.Exported;
import org.shardloom.protocol.message.CoordinatorMessage.Ready;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.CoordinatorMessage.StepDone;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.StepReport;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;
import org.shardloom.protocol.plan.Resharding;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.LearningRate;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.StepInput;
import org.shardloom.worker.zero.StepResult;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * A worker's work, on its engine thread: everything but {@link #abort} is called by that one thread and may block there.
 */
public final class Session implements AutoCloseable {
    /**
     * How long an operation waits for a peer. Peers that are dead or hang are found by the cluster, which then aborts the group; this
     * only bounds how far apart ranks may be in their work, such as one that still reads its part of a large checkpoint.
     */
    private static final Duration COLLECTIVE_TIMEOUT = Duration.ofMinutes(30);

    private final JobConfig job;
    private final RunSecret secret;
    private final CpuDevice device;
    private final DecoderConfig model;
    private final TrainingData data;
    private final LearningRate schedule;
    private volatile Collectives aborting;
    private volatile String abortReason;
    private ZeroEngine engine;
    private long generation;
    private int workerId;
    private int rank;
    private int worldSize;
    private TrainingState state = TrainingState.START;

    /** Reads configuration and data; no weights yet. */
    public Session(JobConfig job, RunSecret secret, int threads) {
        this.job = job;
        this.secret = secret;
        this.device = new CpuDevice(threads);
        this.model = ModelConfigReader.read(job.model().path());
        this.data = TrainingData.load(job, model);
        this.schedule = new LearningRate(job.train().learningRate(), job.train().schedule(), data.totalSteps());
    }

    /**
     * Begins a generation: forms its group, and loads, draws or takes over this rank's state.
     *
     * @param rendezvous by name of the group
     * @throws CollectiveException when the generation is given up meanwhile
     */
    public Ready start(StartGeneration message, int ownWorkerId, Function<String, Rendezvous> rendezvous)
            throws IOException {
        abortReason = null;
        NativeCpu.useThreads(threads(message.members(), ownWorkerId));
        workerId = ownWorkerId;
        generation = message.generation();
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
        try {
            if (message.origin() != org.shardloom.protocol.message.WorkerMessage.Origin.RESHARD) {
                close(before);
                before = null;
            }
            if (self.rank() >= 0) {
                Collectives group =
                        guard(Groups.join(rendezvous.apply("ranks"), ranks, self.rank(), secret, COLLECTIVE_TIMEOUT));
                next = newEngine(group);
            }
            state = switch (message.origin()) {
                case START -> fresh(next);
                case CHECKPOINT -> restore(next, Path.of(message.checkpoint()));
                case RESHARD -> takeOver(message, self, before, next, rendezvous);
            };
            if (next != null) {
                next.optimizer().restoreUpdates(state.updates());
                next.scaler().restore(state.lossScale(), state.goodSteps());
                next.publishMaster();
            }
            engine = next;
            next = null;
        } finally {
            close(next);
            close(before);
        }
        rank = self.rank();
        worldSize = ranks.size();
        return new Ready(
                generation,
                workerId,
                data.totalSteps(),
                engine == null ? List.of() : engine.plan().units(),
                Files.readString(job.model().path().resolve("config.json")),
                data.summary(),
                state);
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

    private Collectives guard(Collectives group) {
        aborting = group;
        if (abortReason != null) {
            group.abort(abortReason);
        }
        return group;
    }

    private ZeroEngine newEngine(Collectives group) {
        DType dtype =
                switch (job.precision()) {
                    case BF16 -> DType.BF16;
                    case FP16 -> DType.F16;
                    case FP32 -> DType.F32;
                };
        EngineConfig config = new EngineConfig(
                dtype,
                job.zero().stage(),
                job.gradientCheckpointing(),
                job.train().optimizer(),
                job.train().maxGradNorm(),
                data.longest());
        try {
            return new ZeroEngine(model, config, device, group);
        } catch (RuntimeException e) {
            group.abort("a rank could not set up: " + e.getMessage());
            group.close();
            throw e;
        }
    }

    private TrainingState fresh(ZeroEngine next) throws IOException {
        if (job.model().init() == ModelConfigSource.Init.RANDOM) {
            MasterWeights.randomize(
                    next.units(),
                    next.plan(),
                    next.group().rank(),
                    job.train().seed(),
                    model.layers(),
                    next.optimizer());
        } else {
            try (TensorSource source = WeightsDirectory.open(job.model().path())) {
                MasterWeights.check(next.units(), source, job.model().path().toString());
                MasterWeights.load(next.units(), next.plan(), next.group().rank(), source, next.optimizer());
            }
        }
        return TrainingState.START;
    }

    private TrainingState restore(ZeroEngine next, Path directory) throws IOException {
        int own = next.group().rank();
        int ranks = next.group().size();
        try (Checkpoint checkpoint = Checkpoint.open(directory, shard -> shard % ranks == own)) {
            checkpoint.load(next.plan(), next.group().rank(), next.optimizer());
            return checkpoint.state();
        }
    }

    /** Moves master weights and moments from their old owners straight to their new ones. */
    private TrainingState takeOver(
            StartGeneration message,
            Member self,
            ZeroEngine before,
            ZeroEngine next,
            Function<String, Rendezvous> rendezvous) {
        List<Member> all = message.members();
        int own = all.indexOf(self);
        List<UnitSpec> units = DecoderUnits.of(model);
        ShardPlan oldPlan = ZeroEngine.planOf(
                units, (int) all.stream().filter(m -> m.oldRank() >= 0).count());
        ShardPlan newPlan = ZeroEngine.planOf(
                units, (int) all.stream().filter(m -> m.rank() >= 0).count());
        List<Move> outgoing = new ArrayList<>();
        List<Move> incoming = new ArrayList<>();
        for (Resharding.Transfer t : Resharding.between(oldPlan, newPlan)) {
            int source = indexOf(all, m -> m.oldRank() == t.sourceRank());
            int target = indexOf(all, m -> m.rank() == t.targetRank());
            for (OptimizerShard.Part part : OptimizerShard.Part.values()) {
                long length = t.interval().length();
                if (source == own) {
                    long offset = t.interval().from()
                            - oldPlan.owned(t.unit(), t.sourceRank()).from();
                    Tensor tensor = before.optimizer().get(t.unit(), part).slice(offset, length);
                    outgoing.add(new Move(target, tensor));
                }
                if (target == own) {
                    long offset = t.interval().from()
                            - newPlan.owned(t.unit(), t.targetRank()).from();
                    incoming.add(new Move(
                            source, next.optimizer().get(t.unit(), part).slice(offset, length)));
                }
            }
        }
        Collectives movers = guard(Groups.join(rendezvous.apply("movers"), all, own, secret, COLLECTIVE_TIMEOUT));
        try {
            movers.exchange(outgoing, incoming).await();
        } finally {
            movers.close();
            aborting = null;
            if (next != null) {
                guard(next.group());
            }
        }
        return message.state();
    }

    private static int indexOf(List<Member> members, java.util.function.Predicate<Member> wanted) {
        for (int i = 0; i < members.size(); i++) {
            if (wanted.test(members.get(i))) {
                return i;
            }
        }
        throw new IllegalArgumentException("no such member among " + members);
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
                engine.scaler().goodSteps());
        StepReport report = new StepReport(
                result.loss(),
                result.gradNorm(),
                result.applied(),
                learningRate,
                tokens,
                data.epochAfter(step),
                (System.nanoTime() - started) * 1e-9,
                result.seconds(),
                device.statistics().peakBytes(),
                NativeCpu.residentBytes(true));
        return new StepDone(generation, workerId, state, report);
    }

    /** Writes this rank's shard. */
    public ShardWritten save(long step, Path directory) throws IOException {
        ShardFiles.Written written = ShardFiles.write(directory, engine.plan(), rank, engine.optimizer());
        return new ShardWritten(generation, workerId, step, rank, written.file(), written.bytes(), written.checksum());
    }

    /** Turns a checkpoint into a Hugging Face directory in the training dtype. */
    public Exported export(Path checkpointDirectory, Path target) throws IOException {
        WeightDtype dtype =
                switch (job.precision()) {
                    case BF16 -> WeightDtype.BF16;
                    case FP16 -> WeightDtype.F16;
                    case FP32 -> WeightDtype.F32;
                };
        try (Checkpoint checkpoint = Checkpoint.open(checkpointDirectory, false)) {
            HuggingFaceExport.write(
                    checkpoint,
                    DecoderUnits.of(model),
                    job.model().path(),
                    tokenizerDirectory(),
                    target,
                    dtype,
                    5_000_000_000L);
        }
        return new Exported(generation, workerId, target.toString());
    }

    private Path tokenizerDirectory() {
        Path tokenizer = job.tokenizer();
        return Files.isDirectory(tokenizer)
                ? tokenizer
                : tokenizer.toAbsolutePath().getParent();
    }

    /** Ends the collectives of the generation. Any thread. */
    public void abort(String reason) {
        abortReason = reason;
        Collectives group = aborting;
        if (group != null) {
            group.abort(reason);
        }
    }

    private void close(ZeroEngine old) {
        if (old != null) {
            old.group().abort("the generation has ended");
            old.group().close();
            old.close();
            device.trim();
        }
    }

    @Override
    public void close() {
        close(engine);
        engine = null;
        device.close();
    }
}
