package org.shardloom.worker.actor;

import akka.actor.typed.ActorRef;
import akka.actor.typed.Behavior;
import akka.actor.typed.PostStop;
import akka.actor.typed.Terminated;
import akka.actor.typed.javadsl.AbstractBehavior;
import akka.actor.typed.javadsl.ActorContext;
import akka.actor.typed.javadsl.Behaviors;
import akka.actor.typed.javadsl.Receive;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.function.Supplier;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.disk.NoSpaceException;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.Severity;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.worker.loop.Session;
import org.shardloom.worker.zero.StepRefusedException;
import org.shardloom.worker.zero.TornStepException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One worker. It asks for the run's job, unless it was given it, prepares, and only then registers: the run does not wait for it
 * meanwhile. Orders of the current generation go to the engine's thread one after the other, and what it answers goes to the
 * coordinator; an abort reaches the collectives at once, whatever the engine's thread is doing.
 */
public final class WorkerActor extends AbstractBehavior<WorkerMessage> {
    private static final Logger LOG = LoggerFactory.getLogger(WorkerActor.class);
    private static final Duration MEETING_TIMEOUT = Duration.ofSeconds(120);
    private static final Duration ANSWER_TIMEOUT = Duration.ofSeconds(30);

    /**
     * What the actor is built with.
     *
     * @param workerId as the launcher numbered it, or -1 for one that was started by hand
     * @param job the job; empty: the coordinator is asked for it
     * @param host address for peers
     * @param hostKey equal for workers that can share memory
     * @param outcome completed with null when the worker left in good order, else with what went wrong
     */
    public record Setup(
            ActorRef<CoordinatorMessage> coordinator,
            RunSecret secret,
            int workerId,
            Optional<JobConfig> job,
            String host,
            String hostKey,
            CompletableFuture<String> outcome) {}

    private record Prepared(EngineThread.Prepared prepared, Throwable failure) implements WorkerMessage.Local {}

    private record Answer(long generation, CoordinatorMessage message, Throwable failure)
            implements WorkerMessage.Local {}

    private record NoAnswer(Phase to) implements WorkerMessage.Local {}

    private enum Phase {
        /** Has asked for the job. */
        ASKING,
        /** Reads configuration and data. */
        PREPARING,
        /** Has asked to take part. */
        REGISTERING,
        /** Takes part. */
        REGISTERED
    }

    private final Setup setup;
    private final EngineThread engine = new EngineThread();
    /** Gives up what the generation has under way, whatever the engine's thread is doing. */
    private AbortSignal signal = new AbortSignal();

    private Phase phase;
    private int workerId;
    private long generation = -1;
    /** Orders that the engine's thread has not answered yet. */
    private int underway;
    /** Nothing is under way that the session would have to be kept from. */
    private boolean inOrder;

    private GenerationRendezvous rendezvous;
    private String jobFingerprint = "";
    private String problem;

    private WorkerActor(ActorContext<WorkerMessage> context, Setup setup) {
        super(context);
        this.setup = setup;
        this.workerId = setup.workerId();
        context.watch(setup.coordinator());
        setup.job().ifPresentOrElse(this::prepare, this::askJob);
    }

    public static Behavior<WorkerMessage> create(Setup setup) {
        return Behaviors.setup(context -> new WorkerActor(context, setup));
    }

    @Override
    public Receive<WorkerMessage> createReceive() {
        return newReceiveBuilder()
                .onMessage(Prepared.class, this::onPrepared)
                .onMessage(WorkerMessage.Job.class, this::onJob)
                .onMessage(WorkerMessage.Registered.class, this::onRegistered)
                .onMessage(WorkerMessage.Refused.class, m -> stop("refused by the coordinator: " + m.reason()))
                .onMessage(WorkerMessage.StartGeneration.class, this::onStartGeneration)
                .onMessage(WorkerMessage.RendezvousResult.class, this::onRendezvousResult)
                .onMessage(
                        WorkerMessage.RunStep.class,
                        m -> order(m.generation(), session -> step(session, m.generation(), m.step())))
                .onMessage(
                        WorkerMessage.SaveCheckpoint.class,
                        m -> order(
                                m.generation(),
                                session -> save(session, m.generation(), m.step(), Path.of(m.directory()))))
                .onMessage(
                        WorkerMessage.ExportFinal.class,
                        m -> order(
                                m.generation(),
                                session -> export(
                                        session, m.generation(), Path.of(m.checkpoint()), Path.of(m.directory()))))
                .onMessage(WorkerMessage.AbortGeneration.class, this::onAbort)
                .onMessage(WorkerMessage.Leave.class, m -> onLeave())
                .onMessage(Answer.class, this::onAnswer)
                .onMessage(NoAnswer.class, this::onNoAnswer)
                .onSignal(Terminated.class, signal -> stop("the coordinator is gone"))
                .onSignal(PostStop.class, signal -> onStopped())
                .build();
    }

    private void askJob() {
        await(Phase.ASKING);
        setup.coordinator()
                .tell(new CoordinatorMessage.AskJob(
                        setup.secret().proof("register"),
                        setup.host(),
                        ProcessHandle.current().pid(),
                        getContext().getSelf()));
    }

    private Behavior<WorkerMessage> onJob(WorkerMessage.Job m) {
        if (phase == Phase.ASKING) {
            prepare(JobFile.parse(m.yaml(), "the coordinator's job", List.of()).config());
        }
        return this;
    }

    /** Reads configuration and data before registering, so that a run that goes on meanwhile need not wait for it. */
    private void prepare(JobConfig job) {
        phase = Phase.PREPARING;
        jobFingerprint = job.fingerprint();
        getContext()
                .pipeToSelf(
                        engine.prepare(job, setup.secret()),
                        (prepared, failure) -> new Prepared(prepared, EngineThread.unwrap(failure)));
    }

    /** Who was started by hand tells the one who did it what is wrong; else it is for the run to say, which waits for this worker. */
    private Behavior<WorkerMessage> onPrepared(Prepared m) {
        if (m.failure != null) {
            problem = EngineThread.describe(m.failure);
            LOG.error("cannot prepare", m.failure);
            if (setup.workerId() < 0) {
                return stop(problem);
            }
        }
        await(Phase.REGISTERING);
        setup.coordinator()
                .tell(new CoordinatorMessage.Register(
                        setup.workerId(),
                        setup.secret().proof("register"),
                        jobFingerprint,
                        m.prepared == null ? "" : m.prepared.digest(),
                        setup.host(),
                        setup.hostKey(),
                        ProcessHandle.current().pid(),
                        m.prepared == null ? "" : m.prepared.device(),
                        getContext().getSelf()));
        return this;
    }

    private void await(Phase next) {
        phase = next;
        getContext().scheduleOnce(ANSWER_TIMEOUT, getContext().getSelf(), new NoAnswer(next));
    }

    private Behavior<WorkerMessage> onNoAnswer(NoAnswer m) {
        return phase == m.to
                ? stop("the coordinator did not answer within " + ANSWER_TIMEOUT.toSeconds() + " s")
                : this;
    }

    private Behavior<WorkerMessage> onRegistered(WorkerMessage.Registered m) {
        phase = Phase.REGISTERED;
        workerId = m.workerId();
        if (problem != null) {
            setup.coordinator().tell(new CoordinatorMessage.WorkerFailed(-1, workerId, Severity.FATAL, problem));
        }
        return this;
    }

    private Behavior<WorkerMessage> onStartGeneration(WorkerMessage.StartGeneration m) {
        if (m.generation() <= generation) {
            return this;
        }
        if (m.origin() != WorkerMessage.Origin.RESHARD) {
            signal.abort("a new generation begins");
        }
        generation = m.generation();
        AbortSignal ofGeneration = new AbortSignal();
        signal = ofGeneration;
        GenerationRendezvous meetings =
                new GenerationRendezvous(setup.coordinator(), generation, workerId, MEETING_TIMEOUT, ofGeneration);
        rendezvous = meetings;
        return order(generation, session -> session.start(m, workerId, meetings.groups(m.members()), ofGeneration));
    }

    private CoordinatorMessage step(Session session, long orderGeneration, long step) {
        return step(() -> session.step(step), orderGeneration, workerId, step);
    }

    /** The state before a step that was refused is good, and is saved; that of one half of which was applied is not, and the run ends. */
    static CoordinatorMessage step(Supplier<CoordinatorMessage> work, long orderGeneration, int workerId, long step) {
        try {
            return work.get();
        } catch (StepRefusedException e) {
            return new CoordinatorMessage.StepRefused(orderGeneration, workerId, step, e.getMessage());
        } catch (TornStepException e) {
            LOG.error("generation {}, step {}: {}", orderGeneration, step, e.getMessage());
            return new CoordinatorMessage.WorkerFailed(orderGeneration, workerId, Severity.FATAL, e.getMessage());
        }
    }

    private CoordinatorMessage save(Session session, long orderGeneration, long step, Path directory) throws Exception {
        try {
            return session.save(step, directory);
        } catch (NoSpaceException e) {
            return new CoordinatorMessage.ShardFailed(orderGeneration, workerId, step, true, e.getMessage());
        }
    }

    private CoordinatorMessage export(Session session, long orderGeneration, Path checkpoint, Path directory)
            throws Exception {
        try {
            return session.export(checkpoint, directory);
        } catch (NoSpaceException e) {
            return new CoordinatorMessage.ExportFailed(orderGeneration, workerId, e.getMessage());
        }
    }

    private Behavior<WorkerMessage> order(long orderGeneration, EngineThread.Work work) {
        if (orderGeneration != generation) {
            LOG.info("dropped an order of generation {}: now in {}", orderGeneration, generation);
            return this;
        }
        underway++;
        getContext()
                .pipeToSelf(
                        engine.submit(work),
                        (message, failure) -> new Answer(orderGeneration, message, EngineThread.unwrap(failure)));
        return this;
    }

    private Behavior<WorkerMessage> onAnswer(Answer m) {
        underway--;
        if (m.generation != generation) {
            return this;
        }
        if (m.failure == null) {
            setup.coordinator().tell(m.message);
            return this;
        }
        if (m.failure instanceof DeviceLostException lost) {
            // Another process may get the GPU to work again, or find another one.
            LOG.error("generation {}: this worker ends, its device is lost", generation, lost);
            setup.coordinator()
                    .tell(new CoordinatorMessage.WorkerFailed(
                            generation, workerId, Severity.DEVICE_LOST, lost.getMessage()));
            return stop(lost.getMessage());
        }
        boolean fatal = !(m.failure instanceof CollectiveException) && !(m.failure instanceof IllegalStateException);
        if (fatal) {
            LOG.error("generation {} failed", generation, m.failure);
        } else if (signal.reason() != null) {
            // What an abort is followed by: whoever gave the generation up has said why.
            LOG.info("generation {}: {}", generation, m.failure.toString());
        } else {
            LOG.warn("generation {}: {}", generation, m.failure.toString());
        }
        setup.coordinator()
                .tell(new CoordinatorMessage.WorkerFailed(
                        generation,
                        workerId,
                        fatal ? Severity.FATAL : Severity.PASSING,
                        EngineThread.describe(m.failure)));
        return this;
    }

    private Behavior<WorkerMessage> onRendezvousResult(WorkerMessage.RendezvousResult m) {
        if (m.generation() == generation && rendezvous != null) {
            rendezvous.deliver(m);
        }
        return this;
    }

    private Behavior<WorkerMessage> onAbort(WorkerMessage.AbortGeneration m) {
        if (m.generation() == generation) {
            signal.abort(m.reason());
        }
        return this;
    }

    /** A session that has nothing to do ends its group by itself, together with the others that leave. */
    private Behavior<WorkerMessage> onLeave() {
        if (underway > 0) {
            return stop(null);
        }
        inOrder = true;
        setup.outcome().complete(null);
        return Behaviors.stopped();
    }

    private Behavior<WorkerMessage> stop(String why) {
        signal.abort(why == null ? "the worker leaves" : why);
        setup.outcome().complete(why);
        return Behaviors.stopped();
    }

    private Behavior<WorkerMessage> onStopped() {
        if (!inOrder) {
            signal.abort("the worker stops");
        }
        engine.close();
        signal.abort("the worker has stopped");
        setup.outcome()
                .complete(
                        phase == Phase.REGISTERED
                                ? "this worker was taken out of the run"
                                : "could not join the run: is the secret this run's, and is the run still going on?");
        return this;
    }
}
