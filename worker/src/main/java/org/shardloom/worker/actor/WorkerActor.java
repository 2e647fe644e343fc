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
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.worker.checkpoint.NoSpaceException;
import org.shardloom.worker.loop.Session;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One worker. Orders of the current generation go to the engine's thread one after the other, and what it answers goes to the
 * coordinator; an abort reaches the collectives at once, whatever the engine's thread is doing.
 */
public final class WorkerActor extends AbstractBehavior<WorkerMessage> {
    private static final Logger LOG = LoggerFactory.getLogger(WorkerActor.class);
    private static final Duration MEETING_TIMEOUT = Duration.ofSeconds(120);
    private static final Duration REGISTRATION_TIMEOUT = Duration.ofSeconds(30);

    /**
     * What the actor is built with.
     *
     * @param workerId as the launcher numbered it, or -1
     * @param job the job, where it is known before registration
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
            String device,
            CompletableFuture<String> outcome) {}

    private record Prepared(Throwable failure) implements WorkerMessage.Local {}

    private record Answer(long generation, CoordinatorMessage message, Throwable failure)
            implements WorkerMessage.Local {}

    private record RegistrationTimeout() implements WorkerMessage.Local {}

    private interface EngineWork {
        CoordinatorMessage run() throws Exception;
    }

    private final Setup setup;
    private final ExecutorService engine = Executors.newSingleThreadExecutor(task -> {
        Thread thread = new Thread(task, "engine");
        thread.setDaemon(true);
        return thread;
    });
    /** Made on the engine's thread, before any order runs there; the actor only aborts it. */
    private volatile Session session;

    private int workerId;
    private long generation = -1;
    private GenerationRendezvous rendezvous;
    private boolean registered;
    private String problem;

    private WorkerActor(ActorContext<WorkerMessage> context, Setup setup) {
        super(context);
        this.setup = setup;
        this.workerId = setup.workerId();
        context.watch(setup.coordinator());
        if (setup.job().isPresent()) {
            prepare(setup.job().get());
        } else {
            register("");
        }
    }

    public static Behavior<WorkerMessage> create(Setup setup) {
        return Behaviors.setup(context -> new WorkerActor(context, setup));
    }

    @Override
    public Receive<WorkerMessage> createReceive() {
        return newReceiveBuilder()
                .onMessage(Prepared.class, this::onPrepared)
                .onMessage(WorkerMessage.Registered.class, this::onRegistered)
                .onMessage(WorkerMessage.Refused.class, m -> stop("refused by the coordinator: " + m.reason()))
                .onMessage(WorkerMessage.StartGeneration.class, this::onStartGeneration)
                .onMessage(WorkerMessage.RendezvousResult.class, this::onRendezvousResult)
                .onMessage(WorkerMessage.RunStep.class, m -> order(m.generation(), () -> session.step(m.step())))
                .onMessage(
                        WorkerMessage.SaveCheckpoint.class,
                        m -> order(m.generation(), () -> save(m.generation(), m.step(), Path.of(m.directory()))))
                .onMessage(
                        WorkerMessage.ExportFinal.class,
                        m -> order(
                                m.generation(), () -> session.export(Path.of(m.checkpoint()), Path.of(m.directory()))))
                .onMessage(WorkerMessage.AbortGeneration.class, this::onAbort)
                .onMessage(WorkerMessage.Leave.class, m -> stop(null))
                .onMessage(Answer.class, this::onAnswer)
                .onMessage(RegistrationTimeout.class, this::onRegistrationTimeout)
                .onSignal(Terminated.class, signal -> stop("the coordinator is gone"))
                .onSignal(PostStop.class, signal -> onStopped())
                .build();
    }

    /** Reads configuration and data before registering, so that a run that goes on meanwhile need not wait for it. */
    private void prepare(JobConfig job) {
        int threads = job.threadsPerWorker() > 0
                ? job.threadsPerWorker()
                : Math.max(1, Runtime.getRuntime().availableProcessors() / job.workers());
        CompletableFuture<Void> made =
                CompletableFuture.runAsync(() -> session = new Session(job, setup.secret(), threads), engine);
        getContext().pipeToSelf(made, (nothing, failure) -> new Prepared(unwrap(failure)));
    }

    private Behavior<WorkerMessage> onPrepared(Prepared m) {
        if (m.failure != null) {
            problem = describe(m.failure);
            LOG.error("cannot prepare", m.failure);
        }
        if (registered) {
            reportProblem();
        } else {
            register(setup.job().map(JobConfig::fingerprint).orElse(""));
        }
        return this;
    }

    private void register(String jobFingerprint) {
        getContext().scheduleOnce(REGISTRATION_TIMEOUT, getContext().getSelf(), new RegistrationTimeout());
        setup.coordinator()
                .tell(new CoordinatorMessage.Register(
                        setup.workerId(),
                        setup.secret().proof("register"),
                        jobFingerprint,
                        setup.host(),
                        setup.hostKey(),
                        ProcessHandle.current().pid(),
                        setup.device(),
                        getContext().getSelf()));
    }

    private Behavior<WorkerMessage> onRegistrationTimeout(RegistrationTimeout m) {
        return registered
                ? this
                : stop("the coordinator did not answer within " + REGISTRATION_TIMEOUT.toSeconds() + " s");
    }

    private Behavior<WorkerMessage> onRegistered(WorkerMessage.Registered m) {
        registered = true;
        workerId = m.workerId();
        if (setup.job().isEmpty()) {
            prepare(JobFile.parse(m.jobYaml(), "the coordinator's job", java.util.List.of())
                    .config());
        } else {
            reportProblem();
        }
        return this;
    }

    private void reportProblem() {
        if (problem != null) {
            setup.coordinator().tell(new CoordinatorMessage.WorkerFailed(-1, workerId, true, problem));
        }
    }

    private Behavior<WorkerMessage> onStartGeneration(WorkerMessage.StartGeneration m) {
        if (m.generation() <= generation) {
            return this;
        }
        if (m.origin() != WorkerMessage.Origin.RESHARD) {
            abortCurrent("a new generation begins");
        }
        generation = m.generation();
        GenerationRendezvous meetings =
                new GenerationRendezvous(setup.coordinator(), generation, workerId, MEETING_TIMEOUT);
        rendezvous = meetings;
        int movers = m.members().size();
        int ranks =
                (int) m.members().stream().filter(member -> member.rank() >= 0).count();
        return order(
                m.generation(),
                () -> session.start(m, workerId, group -> {
                    int index = 0;
                    for (int i = 0; i < movers; i++) {
                        if (m.members().get(i).workerId() == workerId) {
                            index = i;
                        }
                    }
                    boolean all = group.equals("movers");
                    return meetings.of(
                            group, all ? index : m.members().get(index).rank(), all ? movers : ranks);
                }));
    }

    private CoordinatorMessage save(long orderGeneration, long step, Path directory) throws Exception {
        try {
            return session.save(step, directory);
        } catch (NoSpaceException e) {
            return new CoordinatorMessage.ShardFailed(orderGeneration, workerId, step, true, e.getMessage());
        }
    }

    private Behavior<WorkerMessage> order(long orderGeneration, EngineWork work) {
        if (orderGeneration != generation) {
            LOG.info("dropped an order of generation {}: now in {}", orderGeneration, generation);
            return this;
        }
        CompletableFuture<CoordinatorMessage> done = CompletableFuture.supplyAsync(
                () -> {
                    try {
                        if (session == null) {
                            throw new IllegalStateException("the worker is not prepared yet");
                        }
                        return work.run();
                    } catch (RuntimeException e) {
                        throw e;
                    } catch (Exception e) {
                        throw new java.util.concurrent.CompletionException(e);
                    }
                },
                engine);
        getContext().pipeToSelf(done, (message, failure) -> new Answer(orderGeneration, message, unwrap(failure)));
        return this;
    }

    private Behavior<WorkerMessage> onAnswer(Answer m) {
        if (m.generation != generation) {
            return this;
        }
        if (m.failure == null) {
            setup.coordinator().tell(m.message);
            return this;
        }
        boolean fatal = !(m.failure instanceof CollectiveException) && !(m.failure instanceof IllegalStateException);
        if (fatal) {
            LOG.error("generation {} failed", generation, m.failure);
        } else {
            LOG.warn("generation {}: {}", generation, m.failure.toString());
        }
        setup.coordinator().tell(new CoordinatorMessage.WorkerFailed(generation, workerId, fatal, describe(m.failure)));
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
            abortCurrent(m.reason());
        }
        return this;
    }

    private void abortCurrent(String reason) {
        if (rendezvous != null) {
            rendezvous.abort(reason);
        }
        if (session != null) {
            session.abort(reason);
        }
    }

    private Behavior<WorkerMessage> stop(String why) {
        abortCurrent(why == null ? "the worker leaves" : why);
        setup.outcome().complete(why);
        return Behaviors.stopped();
    }

    private Behavior<WorkerMessage> onStopped() {
        abortCurrent("the worker stops");
        Session last = session;
        engine.execute(() -> {
            if (last != null) {
                last.close();
            }
        });
        engine.shutdown();
        try {
            if (!engine.awaitTermination(2, TimeUnit.SECONDS)) {
                LOG.warn("the engine's thread is still busy");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        setup.outcome()
                .complete(
                        registered
                                ? "this worker was taken out of the run"
                                : "could not join the run: is the secret this run's, and is the run still going on?");
        return this;
    }

    private static Throwable unwrap(Throwable failure) {
        Throwable cause = failure;
        while (cause instanceof java.util.concurrent.CompletionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    private static String describe(Throwable failure) {
        if (failure instanceof OutOfMemoryException
                || failure.getMessage() != null && !(failure instanceof NullPointerException)) {
            return failure.getMessage();
        }
        return failure.toString();
    }
}
