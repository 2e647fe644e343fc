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
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.WorkerMessage;
import org.shardloom.protocol.plan.UnitSize;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Carries out what {@link RunMachine} decides. Files are written on a thread of their own; the actor never blocks. */
public final class CoordinatorActor extends AbstractBehavior<CoordinatorMessage> {
    /** Purpose of the proof in {@link CoordinatorMessage.Register}. */
    public static final String REGISTER = "register";

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

    /** Asks to stop. */
    public record Stop(boolean immediately) implements CoordinatorMessage.Local {}

    private record Tick() implements CoordinatorMessage.Local {}

    private record ProcessEnded(int workerId, String how) implements CoordinatorMessage.Local {}

    private record Prepared(long step, Path directory, Throwable failure) implements CoordinatorMessage.Local {}

    private record Committed(long step, Path directory, Throwable failure) implements CoordinatorMessage.Local {}

    private record Shutdown() implements CoordinatorMessage.Local {}

    private final Setup setup;
    private final RunMachine machine;
    private final TimerScheduler<CoordinatorMessage> timers;
    private final RendezvousBoard rendezvous = new RendezvousBoard();
    private final Map<Integer, ActorRef<WorkerMessage>> workers = new HashMap<>();
    private final ExecutorService files =
            Executors.newSingleThreadExecutor(task -> new Thread(task, "checkpoint-files"));
    private final MetricsLog metrics;
    private final Map<Long, CompletableFuture<String>> scaling = new HashMap<>();
    private long scaleRequests;
    private List<UnitSize> units = List.of();
    private String modelConfig = "";
    private long generation;
    private Outcome outcome;

    private CoordinatorActor(
            ActorContext<CoordinatorMessage> context, TimerScheduler<CoordinatorMessage> timers, Setup setup)
            throws IOException {
        super(context);
        this.setup = setup;
        this.timers = timers;
        this.machine = new RunMachine(setup.settings());
        this.metrics = new MetricsLog(setup.metricsFile());
        timers.startTimerWithFixedDelay(new Tick(), Duration.ofMillis(100));
        perform(machine.start(now()));
    }

    /** The actor of one run; it stops when the run has ended. */
    public static Behavior<CoordinatorMessage> create(Setup setup) {
        return Behaviors.setup(context -> Behaviors.withTimers(timers -> new CoordinatorActor(context, timers, setup)));
    }

    @Override
    public Receive<CoordinatorMessage> createReceive() {
        return newReceiveBuilder()
                .onMessage(CoordinatorMessage.Register.class, this::onRegister)
                .onMessage(CoordinatorMessage.RendezvousOffer.class, this::onOffer)
                .onMessage(CoordinatorMessage.Ready.class, this::onReady)
                .onMessage(CoordinatorMessage.StepDone.class, m -> did(machine.stepDone(m, now())))
                .onMessage(CoordinatorMessage.ShardWritten.class, m -> did(machine.shardWritten(m, now())))
                .onMessage(CoordinatorMessage.ShardFailed.class, m -> did(machine.shardFailed(m, now())))
                .onMessage(CoordinatorMessage.Exported.class, m -> did(machine.exported(m, now())))
                .onMessage(CoordinatorMessage.WorkerFailed.class, m -> did(machine.failed(m, now())))
                .onMessage(ProcessEnded.class, m -> did(machine.lost(m.workerId, m.how, now())))
                .onMessage(Prepared.class, this::onPrepared)
                .onMessage(Committed.class, this::onCommitted)
                .onMessage(Tick.class, m -> did(machine.tick(now())))
                .onMessage(GetView.class, this::onGetView)
                .onMessage(Scale.class, this::onScale)
                .onMessage(Stop.class, m -> did(machine.stop(m.immediately, now())))
                .onMessage(Shutdown.class, m -> onShutdown())
                .onSignal(Terminated.class, this::onTerminated)
                .onSignal(PostStop.class, signal -> onStopped())
                .build();
    }

    private Behavior<CoordinatorMessage> onRegister(CoordinatorMessage.Register m) {
        String problem = null;
        if (!setup.secret().verifies(m.proof(), REGISTER)) {
            problem = "the run's secret does not match";
        } else if (!m.jobFingerprint().isEmpty() && !m.jobFingerprint().equals(setup.jobFingerprint())) {
            problem = "this worker was started with another job's configuration";
        } else if (outcome != null) {
            problem = "the run has ended";
        } else if (workers.containsKey(m.workerId())) {
            problem = "worker " + m.workerId() + " is there already";
        }
        if (problem != null) {
            LOG.info("refused worker {} of {} (pid {}): {}", m.workerId(), m.host(), m.pid(), problem);
            if (outcome == null) {
                setup.listener()
                        .onNotice(true, "refused a worker of " + m.host() + " (process " + m.pid() + "): " + problem);
            }
            m.worker().tell(new WorkerMessage.Refused(problem));
            return this;
        }
        int id = m.workerId();
        if (id < 0) {
            id = machine.joinedByHand();
        }
        workers.put(id, m.worker());
        getContext().watch(m.worker());
        m.worker().tell(new WorkerMessage.Registered(id, setup.jobYaml()));
        return did(machine.registered(new WorkerInfo(id, m.host(), m.hostKey(), m.pid(), m.device(), -1), now()));
    }

    private Behavior<CoordinatorMessage> onOffer(CoordinatorMessage.RendezvousOffer m) {
        if (m.generation() == generation) {
            rendezvous.offer(m).ifPresent(result -> {
                for (int id : result.workers()) {
                    tell(id, new WorkerMessage.RendezvousResult(m.generation(), m.key(), result.offers()));
                }
            });
        }
        return this;
    }

    private Behavior<CoordinatorMessage> onReady(CoordinatorMessage.Ready m) {
        if (m.generation() == generation && !m.units().isEmpty()) {
            units = m.units();
            modelConfig = m.modelConfigJson();
        }
        return did(machine.ready(m, now()));
    }

    private Behavior<CoordinatorMessage> onTerminated(Terminated terminated) {
        workers.entrySet().stream()
                .filter(e -> e.getValue().equals(terminated.getRef()))
                .map(Map.Entry::getKey)
                .findFirst()
                .ifPresent(id -> {
                    workers.remove(id);
                    perform(machine.lost(id, "it stopped, or its node was unreachable", now()));
                });
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

    private Behavior<CoordinatorMessage> onPrepared(Prepared m) {
        return did(
                m.failure == null
                        ? machine.checkpointPrepared(m.step, m.directory.toString(), now())
                        : machine.checkpointFailed(m.step, noSpace(m.failure), describe(m.failure), now()));
    }

    private Behavior<CoordinatorMessage> onCommitted(Committed m) {
        return did(
                m.failure == null
                        ? machine.checkpointCommitted(m.step, m.directory.toString(), now())
                        : machine.checkpointFailed(m.step, noSpace(m.failure), describe(m.failure), now()));
    }

    private static boolean noSpace(Throwable failure) {
        String message = describe(failure).toLowerCase(Locale.ROOT);
        return message.contains("no space") || message.contains("quota exceeded");
    }

    private static String describe(Throwable failure) {
        Throwable cause = failure;
        while (cause instanceof CompletionException && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause.getMessage() == null ? cause.toString() : cause.getMessage();
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
            tell(e.workerId(), e.message());
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
            tell(e.workerId(), new WorkerMessage.Leave("it was taken for lost"));
            workers.remove(e.workerId());
            setup.launcher().kill(e.workerId());
        } else if (effect instanceof Effect.PrepareCheckpoint e) {
            onFiles(
                    () -> setup.checkpoints().prepare(e.step(), checkpointBytes()),
                    (directory, failure) -> new Prepared(e.step(), directory, failure));
        } else if (effect instanceof Effect.CommitCheckpoint e) {
            CheckpointFiles.Facts facts = new CheckpointFiles.Facts(
                    e.state(),
                    e.worldSize(),
                    units,
                    e.state().step() * setup.globalBatchSize(),
                    e.loss(),
                    setup.jobYaml(),
                    modelConfig,
                    setup.runId());
            onFiles(
                    () -> setup.checkpoints().commit(facts, e.shards()),
                    (directory, failure) -> new Committed(e.state().step(), directory, failure));
        } else if (effect instanceof Effect.DiscardCheckpoint e) {
            files.execute(() -> {
                try {
                    setup.checkpoints().discard(e.step());
                } catch (IOException failure) {
                    LOG.warn("cannot remove the unfinished checkpoint of step {}: {}", e.step(), failure.toString());
                }
            });
        } else if (effect instanceof Effect.PublishStep e) {
            setup.listener().onStep(e.metrics());
            try {
                metrics.append(e.metrics());
            } catch (IOException failure) {
                LOG.warn("metrics.jsonl cannot be written now, it is tried again: {}", failure.getMessage());
            }
        } else if (effect instanceof Effect.AnswerScale e) {
            scaling.remove(e.request()).complete(e.error());
        } else if (effect instanceof Effect.Notice e) {
            setup.listener().onNotice(e.warning(), e.text());
        } else if (effect instanceof Effect.End e) {
            outcome = new Outcome(e.success(), e.message());
            timers.cancelAll();
            timers.startSingleTimer(new Shutdown(), Duration.ofMillis(200));
        }
    }

    /** Workers have been told to leave; they get a few seconds before their processes are ended. */
    private Behavior<CoordinatorMessage> onShutdown() {
        if (setup.launcher().running() > 0 && shutdownTries++ < 25) {
            timers.startSingleTimer(new Shutdown(), Duration.ofMillis(200));
            return this;
        }
        return Behaviors.stopped();
    }

    private int shutdownTries;

    private Behavior<CoordinatorMessage> onStopped() {
        setup.launcher().killAll();
        files.shutdown();
        try {
            metrics.close();
        } catch (IOException e) {
            LOG.warn("metrics.jsonl: {}", e.toString());
        }
        scaling.values().forEach(answer -> answer.complete("the run has ended"));
        setup.outcome().complete(outcome != null ? outcome : new Outcome(false, "the coordinator was stopped"));
        return this;
    }

    private void tell(int workerId, WorkerMessage message) {
        ActorRef<WorkerMessage> worker = workers.get(workerId);
        if (worker != null) {
            worker.tell(message);
        }
    }

    private interface FileWork {
        Path run() throws IOException;
    }

    private void onFiles(FileWork work, akka.japi.function.Function2<Path, Throwable, CoordinatorMessage> toMessage) {
        CompletionStage<Path> result = CompletableFuture.supplyAsync(
                () -> {
                    try {
                        return work.run();
                    } catch (IOException e) {
                        throw new CompletionException(e);
                    }
                },
                files);
        getContext().pipeToSelf(result, (path, failure) -> toMessage.apply(path, cause(failure)));
    }

    /** What went wrong, without what it was wrapped in on its way from the other thread. */
    private static Throwable cause(Throwable failure) {
        Throwable cause = failure;
        while ((cause instanceof java.util.concurrent.CompletionException
                        || cause instanceof java.io.UncheckedIOException)
                && cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    /** fp32 master weights and two moments of every element. */
    private long checkpointBytes() {
        return units.stream().mapToLong(UnitSize::elements).sum() * 12;
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
