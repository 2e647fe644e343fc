package org.shardloom.coordinator.run;

import akka.actor.typed.ActorRef;
import akka.actor.typed.Behavior;
import akka.actor.typed.PostStop;
import akka.actor.typed.Terminated;
import akka.actor.typed.javadsl.AbstractBehavior;
import akka.actor.typed.javadsl.ActorContext;
import akka.actor.typed.javadsl.Behaviors;
import akka.actor.typed.javadsl.Receive;
import akka.actor.typed.javadsl.TimerScheduler;
import akka.cluster.typed.Cluster;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.shardloom.protocol.disk.DiskSpace;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.WorkerMessage;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Carries out what {@link RunMachine} decides. */
public final class CoordinatorActor extends AbstractBehavior<CoordinatorMessage> {
    /** Purpose of the proofs in {@link CoordinatorMessage.AskJob} and {@link CoordinatorMessage.Register}. */
    public static final String REGISTER = "register";

    private static final Duration TICK = Duration.ofMillis(100);
    private static final Duration SHUTDOWN_TICK = Duration.ofMillis(200);
    private static final int SHUTDOWN_TICKS = 25;
    private static final Logger LOG = LoggerFactory.getLogger(CoordinatorActor.class);

    /** What the actor is built with. */
    public record Setup(
            RunSettings settings,
            RunSecret secret,
            String jobYaml,
            String jobFingerprint,
            String runId,
            int globalBatchSize,
            CheckpointFiles checkpoints,
            Path metricsFile,
            WorkerLauncher launcher,
            RunListener listener,
            CompletableFuture<Outcome> outcome) {}

    /** How a run ended. */
    public record Outcome(boolean success, String message) {}

    /** Asks for the run as people see it. */
    public record GetView(CompletableFuture<RunView> answer) implements CoordinatorMessage.Local {}

    /** Asks for a number of workers; answered with null or an error once the run goes on. */
    public record Scale(int workers, CompletableFuture<String> answer) implements CoordinatorMessage.Local {}

    /** Asks to stop; answered with how the run ended, where it did at once, else with null. */
    public record Stop(boolean immediately, CompletableFuture<String> answer) implements CoordinatorMessage.Local {}

    private record Tick() implements CoordinatorMessage.Local {}

    private record ProcessEnded(int workerId, String how) implements CoordinatorMessage.Local {}

    private record Filed(long step, boolean committed, Path directory, Throwable failure)
            implements CoordinatorMessage.Local {}

    private record Shutdown() implements CoordinatorMessage.Local {}

    private final Setup setup;
    private final RunMachine machine;
    private final TimerScheduler<CoordinatorMessage> timers;
    private final RendezvousBoard rendezvous = new RendezvousBoard();
    private final WorkerRefs workers = new WorkerRefs();
    private final Admission admission;
    private final CheckpointThread files;
    private final MetricsLog metrics;
    private final Map<Long, CompletableFuture<String>> scaling = new HashMap<>();
    private long scaleRequests;
    private long generation;
    private Outcome outcome;
    private int shutdownTicks;

    private CoordinatorActor(
            ActorContext<CoordinatorMessage> context, TimerScheduler<CoordinatorMessage> timers, Setup setup)
            throws IOException {
        super(context);
        this.setup = setup;
        this.timers = timers;
        this.machine = new RunMachine(setup.settings());
        this.admission = new Admission(setup.secret(), setup.jobFingerprint(), setup.listener());
        this.files = new CheckpointThread(setup.checkpoints(), setup.globalBatchSize(), setup.jobYaml(), setup.runId());
        this.metrics = new MetricsLog(setup.metricsFile());
        timers.startTimerWithFixedDelay(new Tick(), TICK);
        perform(machine.start(now()));
    }

    /** The actor of one run; it stops when the run has ended. */
    public static Behavior<CoordinatorMessage> create(Setup setup) {
        return Behaviors.setup(context -> Behaviors.withTimers(timers -> new CoordinatorActor(context, timers, setup)));
    }

    @Override
    public Receive<CoordinatorMessage> createReceive() {
        return newReceiveBuilder()
                .onMessage(CoordinatorMessage.AskJob.class, this::onAskJob)
                .onMessage(CoordinatorMessage.Register.class, this::onRegister)
                .onMessage(CoordinatorMessage.RendezvousOffer.class, this::onOffer)
                .onMessage(CoordinatorMessage.Ready.class, this::onReady)
                .onMessage(CoordinatorMessage.StepDone.class, m -> did(machine.stepDone(m, now())))
                .onMessage(CoordinatorMessage.StepRefused.class, m -> did(machine.stepRefused(m, now())))
                .onMessage(CoordinatorMessage.ShardWritten.class, m -> did(machine.shardWritten(m, now())))
                .onMessage(CoordinatorMessage.ShardFailed.class, m -> did(machine.shardFailed(m, now())))
                .onMessage(CoordinatorMessage.Exported.class, m -> did(machine.exported(m, now())))
                .onMessage(CoordinatorMessage.ExportFailed.class, m -> did(machine.exportFailed(m, now())))
                .onMessage(CoordinatorMessage.WorkerFailed.class, m -> did(machine.failed(m, now())))
                .onMessage(ProcessEnded.class, m -> did(machine.lost(m.workerId, m.how, now())))
                .onMessage(Filed.class, this::onFiled)
                .onMessage(Tick.class, m -> did(machine.tick(now())))
                .onMessage(GetView.class, this::onGetView)
                .onMessage(Scale.class, this::onScale)
                .onMessage(Stop.class, this::onStop)
                .onMessage(Shutdown.class, m -> onShutdown())
                .onSignal(Terminated.class, this::onTerminated)
                .onSignal(PostStop.class, signal -> onStopped())
                .build();
    }

    /** Nothing waits for a worker that was started by hand until it has prepared and registers. */
    private Behavior<CoordinatorMessage> onAskJob(CoordinatorMessage.AskJob m) {
        String problem = admission.problem(m);
        if (problem == null) {
            setup.listener()
                    .onNotice(false, "a worker of " + m.host() + " (process " + m.pid() + ") prepares to take part");
            m.worker().tell(new WorkerMessage.Job(setup.jobYaml()));
        } else {
            m.worker().tell(new WorkerMessage.Refused(problem));
        }
        return this;
    }

    private Behavior<CoordinatorMessage> onRegister(CoordinatorMessage.Register m) {
        String problem = admission.problem(m, workers::has);
        if (problem != null) {
            m.worker().tell(new WorkerMessage.Refused(problem));
            return this;
        }
        int id = m.workerId() < 0 ? machine.joinedByHand() : m.workerId();
        workers.add(id, m.worker());
        getContext().watch(m.worker());
        m.worker().tell(new WorkerMessage.Registered(id));
        return did(machine.registered(new WorkerInfo(id, m.host(), m.hostKey(), m.pid(), m.device(), -1), now()));
    }

    private Behavior<CoordinatorMessage> onOffer(CoordinatorMessage.RendezvousOffer m) {
        if (m.generation() == generation) {
            rendezvous.offer(m).ifPresent(result -> {
                for (int id : result.workers()) {
                    workers.tell(id, new WorkerMessage.RendezvousResult(m.generation(), m.key(), result.offers()));
                }
            });
        }
        return this;
    }

    private Behavior<CoordinatorMessage> onReady(CoordinatorMessage.Ready m) {
        if (m.generation() == generation && !m.units().isEmpty()) {
            files.describe(m.units(), m.modelConfigJson(), admission.contentDigest());
        }
        return did(machine.ready(m, now()));
    }

    private Behavior<CoordinatorMessage> onTerminated(Terminated terminated) {
        workers.removeRef(terminated.getRef())
                .ifPresent(id -> perform(machine.lost(id, "it stopped, or its node was unreachable", now())));
        return this;
    }

    private Behavior<CoordinatorMessage> onGetView(GetView m) {
        m.answer.complete(machine.view());
        return this;
    }

    private Behavior<CoordinatorMessage> onScale(Scale m) {
        long request = scaleRequests++;
        scaling.put(request, m.answer);
        return did(machine.scale(request, m.workers, now()));
    }

    private Behavior<CoordinatorMessage> onStop(Stop m) {
        perform(machine.stop(m.immediately, now()));
        m.answer.complete(outcome == null ? null : outcome.message());
        return this;
    }

    private Behavior<CoordinatorMessage> onFiled(Filed m) {
        if (m.failure != null) {
            return did(machine.checkpointFailed(m.step, DiskSpace.isFull(m.failure), describe(m.failure), now()));
        }
        String directory = m.directory.toString();
        return did(
                m.committed
                        ? machine.checkpointCommitted(m.step, directory, now())
                        : machine.checkpointPrepared(m.step, directory, now()));
    }

    private static String describe(Throwable failure) {
        return failure.getMessage() == null ? failure.toString() : failure.getMessage();
    }

    private Behavior<CoordinatorMessage> did(List<Effect> effects) {
        perform(effects);
        return this;
    }

    private void perform(List<Effect> effects) {
        effects.forEach(this::perform);
        if (!effects.isEmpty()) {
            setup.listener().onState(machine.view());
        }
    }

    private void perform(Effect effect) {
        if (effect instanceof Effect.Tell e) {
            if (e.message() instanceof WorkerMessage.StartGeneration start && start.generation() != generation) {
                generation = start.generation();
                rendezvous.clear();
            }
            workers.tell(e.workerId(), e.message());
        } else if (effect instanceof Effect.Launch e) {
            ActorRef<CoordinatorMessage> self = getContext().getSelf();
            akka.actor.Address address =
                    Cluster.get(getContext().getSystem()).selfMember().address();
            setup.launcher()
                    .launch(
                            e.workerId(),
                            address.getHost().get() + ":" + address.getPort().get(),
                            (id, how) -> self.tell(new ProcessEnded(id, how)));
        } else if (effect instanceof Effect.Kill e) {
            workers.tell(e.workerId(), new WorkerMessage.Leave("it was taken for lost"));
            workers.remove(e.workerId());
            setup.launcher().kill(e.workerId());
        } else if (effect instanceof Effect.PrepareCheckpoint e) {
            filed(e.step(), false, files.prepare(e));
        } else if (effect instanceof Effect.CommitCheckpoint e) {
            filed(e.state().step(), true, files.commit(e));
        } else if (effect instanceof Effect.DiscardCheckpoint e) {
            files.discard(e);
        } else if (effect instanceof Effect.PublishStep e) {
            setup.listener().onStep(e.metrics());
            try {
                metrics.append(e.metrics());
            } catch (IOException failure) {
                LOG.warn("metrics.jsonl cannot be written now, it is tried again: {}", failure.getMessage());
            }
            publish(e.metrics().evaluation());
        } else if (effect instanceof Effect.AnswerScale e) {
            scaling.remove(e.request()).complete(e.error());
        } else if (effect instanceof Effect.Notice e) {
            setup.listener().onNotice(e.warning(), e.text());
        } else if (effect instanceof Effect.End e) {
            outcome = new Outcome(e.success(), e.message());
            admission.end();
            timers.cancelAll();
            timers.startSingleTimer(new Shutdown(), SHUTDOWN_TICK);
        }
    }

    private void publish(StepEvaluation evaluation) {
        if (evaluation == null) {
            return;
        }
        setup.listener().onNotice(false, evaluation.describe());
        evaluation.failures().forEach(failure -> setup.listener().onNotice(true, "evaluation: " + failure));
        try {
            EvaluationFiles.write(setup.metricsFile().toAbsolutePath().getParent(), evaluation);
        } catch (IOException e) {
            setup.listener().onNotice(true, "the answers of the evaluation could not be written: " + e.getMessage());
        }
    }

    private void filed(long step, boolean committed, CompletableFuture<Path> work) {
        getContext()
                .pipeToSelf(
                        work,
                        (directory, failure) -> new Filed(step, committed, directory, CheckpointThread.cause(failure)));
    }

    /** Workers have been told to leave; they get a few seconds before their processes are ended. */
    private Behavior<CoordinatorMessage> onShutdown() {
        if (setup.launcher().running() > 0 && shutdownTicks++ < SHUTDOWN_TICKS) {
            timers.startSingleTimer(new Shutdown(), SHUTDOWN_TICK);
            return this;
        }
        return Behaviors.stopped();
    }

    private Behavior<CoordinatorMessage> onStopped() {
        setup.launcher().killAll();
        files.close();
        try {
            metrics.close();
        } catch (IOException e) {
            LOG.warn("metrics.jsonl lacks its last lines: {}", e.getMessage());
        }
        scaling.values().forEach(answer -> answer.complete("the run has ended"));
        setup.outcome().complete(outcome != null ? outcome : new Outcome(false, "the coordinator was stopped"));
        return this;
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
