package org.shardloom.deploy.launch;

import akka.actor.typed.ActorRef;
import akka.actor.typed.ActorSystem;
import akka.actor.typed.Behavior;
import akka.actor.typed.DispatcherSelector;
import akka.actor.typed.Terminated;
import akka.actor.typed.javadsl.Behaviors;
import akka.cluster.typed.Cluster;
import akka.cluster.typed.Join;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.shardloom.coordinator.http.ControlServer;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.coordinator.run.CoordinatorActor;
import org.shardloom.coordinator.run.CoordinatorActor.Outcome;
import org.shardloom.coordinator.run.EvaluationHistory;
import org.shardloom.coordinator.run.RunListener;
import org.shardloom.coordinator.run.RunSettings;
import org.shardloom.deploy.cluster.ClusterSettings;
import org.shardloom.kernels.collective.aeron.AeronOptions;
import org.shardloom.protocol.config.ClusterConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.RunSecret;

/** A run's coordinator in this process, with everything around it: lock, files, cluster node, control interface, worker processes. */
public final class Run {
    private final JobConfig job;
    private final RunListener listener;
    private final Optional<Path> resume;
    private final Optional<HostsFile> hosts;
    private final RunSecret secret = RunSecret.random();
    private final CompletableFuture<Outcome> outcome = new CompletableFuture<>();
    private volatile ActorRef<CoordinatorMessage> coordinator;

    /**
     * A run that has not begun.
     *
     * @param resume checkpoint directory to go on from
     * @param hosts where workers are started; none: on this host
     */
    public Run(JobConfig job, Optional<Path> resume, Optional<HostsFile> hosts, RunListener listener) {
        this.job = job;
        this.resume = resume;
        this.hosts = hosts;
        this.listener = listener;
    }

    /** A run cannot begin; the message says why and what to do. */
    public static final class RunException extends Exception {
        public RunException(String message) {
            super(message);
        }
    }

    /** Runs to the end. */
    public Outcome execute() throws RunException, IOException {
        Path output = job.outputDir();
        Files.createDirectories(output);
        OutputLock lock = OutputLock.tryTake(output)
                .orElseThrow(() -> new RunException(output + " is in use by another run; stop it (deploy/stop.sh --run "
                        + output + ") or choose another output_dir"));
        try {
            CheckpointFiles.heal(output);
            AeronOptions.removeLeftovers();
            if (resume.isEmpty() && CheckpointFiles.latest(output).isPresent()) {
                throw new RunException(
                        output
                                + " already holds checkpoints; go on from them with --resume latest, or choose another output_dir");
            }
            if (resume.isPresent()) {
                for (Path aside : CheckpointFiles.setAside(output, resume.get())) {
                    listener.onNotice(
                            true, "a later checkpoint is kept as " + aside + "; remove it when you do not need it");
                }
            }
            return executeLocked(output);
        } finally {
            lock.close();
        }
    }

    private Outcome executeLocked(Path output) throws IOException, RunException {
        listener.onOwned();
        CheckpointFiles checkpoints = new CheckpointFiles(
                output, job.checkpoint().keepLast(), job.checkpoint().keepBest());
        Path jobFile = output.resolve("job.yaml");
        String yaml = job.toYaml();
        Files.writeString(jobFile, yaml);
        ClusterConfig cluster = job.cluster();
        LocalCommandLine local = new LocalCommandLine(
                jobFile, secret, cluster.host(), hosts.isPresent() ? 1 : job.workers(), job.threadsPerWorker());
        String home = System.getProperty("shardloom.home", ".");
        WorkerProcesses launcher = new WorkerProcesses(
                hosts.<WorkerCommandLine>map(h -> new HostsCommandLine(h, local, jobFile, cluster.host(), home, secret))
                        .orElse(local),
                output.resolve("logs"));
        CoordinatorActor.Setup setup = new CoordinatorActor.Setup(
                new RunSettings(
                        job.workers(),
                        cluster.minWorkers(),
                        cluster.allowReplacement(),
                        job.checkpoint().everySteps(),
                        job.train().minStepSeconds(),
                        Math.round(cluster.joinTimeoutSeconds() * 1000),
                        output.toString(),
                        resume.map(Path::toString).orElse(null),
                        job.evaluation().patience(),
                        resume.isPresent() ? EvaluationHistory.of(resume.get()) : EvaluationHistory.NONE,
                        job.train().schedule()),
                secret,
                yaml,
                job.fingerprint(),
                UUID.randomUUID().toString(),
                job.train().globalBatchSize(),
                checkpoints,
                output.resolve("metrics.jsonl"),
                launcher,
                listener,
                outcome);
        ActorSystem<Void> system = startSystem(setup);
        try (ControlServer control = new ControlServer(coordinator, secret.proof("control"), output.toString())) {
            String join = Cluster.get(system).selfMember().address().getHost().get() + ":"
                    + Cluster.get(system).selfMember().address().getPort().get();
            RunFile file = RunFile.ofThisProcess(output, control.port(), secret.proof("control"), join);
            file.write(secret);
            try {
                return outcome.join();
            } finally {
                file.remove();
                launcher.killAll();
                AeronOptions.removeLeftovers();
            }
        } finally {
            system.terminate();
            awaitTermination(system);
        }
    }

    private ActorSystem<Void> startSystem(CoordinatorActor.Setup setup) throws RunException {
        ClusterConfig cluster = job.cluster();
        CompletableFuture<ActorRef<CoordinatorMessage>> started = new CompletableFuture<>();
        Behavior<Void> guardian = Behaviors.setup(context -> {
            Cluster node = Cluster.get(context.getSystem());
            node.manager().tell(Join.create(node.selfMember().address()));
            ActorRef<CoordinatorMessage> actor = context.spawn(
                    CoordinatorActor.create(setup),
                    "coordinator",
                    DispatcherSelector.blocking()); // it writes metrics and lines
            context.watch(actor);
            started.complete(actor);
            // One that could not even start says nothing itself.
            return Behaviors.<Void>receiveSignal((c, signal) -> {
                if (signal instanceof Terminated) {
                    outcome.complete(
                            new Outcome(false, "the coordinator could not start or failed; see the log above"));
                }
                return Behaviors.same();
            });
        });
        try {
            ActorSystem<Void> system = ActorSystem.create(
                    guardian,
                    ClusterSettings.SYSTEM,
                    ClusterSettings.of("coordinator", cluster.host(), cluster.port(), cluster, secret));
            coordinator = started.join();
            return system;
        } catch (RuntimeException e) {
            for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                if (cause instanceof java.net.BindException
                        || String.valueOf(cause.getMessage()).contains("bind")) {
                    throw new RunException(
                            "cannot listen on " + cluster.host() + ":" + cluster.port()
                                    + ": the port is in use or the address is not this host's; choose another cluster.port (0 takes a free one)");
                }
            }
            throw e;
        }
    }

    private static void awaitTermination(ActorSystem<Void> system) {
        try {
            system.getWhenTerminated().toCompletableFuture().get(10, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (java.util.concurrent.ExecutionException | TimeoutException e) {
            throw new IllegalStateException("the actor system did not end", e);
        }
    }

    /** Asks for a stop; from a signal handler or another thread. */
    public void stop(boolean immediately) {
        ActorRef<CoordinatorMessage> actor = coordinator;
        if (actor == null) {
            outcome.complete(new Outcome(true, "stopped before it began"));
        } else {
            actor.tell(new CoordinatorActor.Stop(immediately, new CompletableFuture<>()));
        }
    }

    /** Completed when the run is over. */
    public CompletableFuture<Outcome> outcome() {
        return outcome;
    }
}
