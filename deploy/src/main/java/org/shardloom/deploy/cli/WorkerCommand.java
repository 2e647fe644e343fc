package org.shardloom.deploy.cli;

import akka.actor.Address;
import akka.actor.typed.ActorRef;
import akka.actor.typed.ActorRefResolver;
import akka.actor.typed.ActorSystem;
import akka.actor.typed.Behavior;
import akka.actor.typed.javadsl.Behaviors;
import akka.cluster.typed.Cluster;
import akka.cluster.typed.JoinSeedNodes;
import com.typesafe.config.Config;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.shardloom.deploy.cluster.ClusterSettings;
import org.shardloom.kernels.cuda.GpuClaim;
import org.shardloom.protocol.config.ClusterConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.worker.actor.WorkerActor;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** One worker: joins a run's cluster and works until it is told to leave. Started by the coordinator, or by hand on any host. */
@Command(
        name = "worker",
        description =
                "Joins a run as a worker (deploy/start.sh --role worker --join HOST:PORT). The run's secret comes from the environment "
                        + "variable SHARDLOOM_SECRET or --secret-file.",
        mixinStandardHelpOptions = true)
final class WorkerCommand implements Callable<Integer> {
    private static final Duration LISTENER_WAIT = Duration.ofSeconds(3);

    @Option(
            names = "--join",
            required = true,
            paramLabel = "HOST:PORT",
            description = "The coordinator's address, as start.sh and run.json show it.")
    private String join;

    @Option(names = "--id", defaultValue = "-1", hidden = true, description = "Number that the coordinator gave.")
    private int id;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description = "The job file; default: the coordinator's. Must be the same job.")
    private Path config;

    @Option(
            names = "--host",
            defaultValue = "127.0.0.1",
            paramLabel = "ADDRESS",
            description = "This host's address; default: ${DEFAULT-VALUE}.")
    private String host;

    @Option(
            names = "--insecure",
            description = "Allows an address that other hosts reach, without TLS: for trusted networks.")
    private boolean insecure;

    @Option(
            names = "--secret-file",
            paramLabel = "FILE|-",
            description =
                    "File that holds the run's secret; -: it is the first line of standard input, and the worker ends with that.")
    private Path secretFile;

    @Option(
            names = "--gpu",
            paramLabel = "ORDINAL|UUID",
            description = "The GPU that this worker computes on; default: the first that no other worker uses.")
    private String gpu;

    @Override
    public Integer call() throws Exception {
        if (gpu != null) {
            System.setProperty(GpuClaim.CHOICE, gpu);
        }
        Address seed = address(join);
        Optional<JobConfig> job = config == null
                ? Optional.empty()
                : Optional.of(JobFile.load(config, List.of()).config());
        ClusterConfig cluster = job.map(JobConfig::cluster).orElseGet(ClusterConfig::defaults);
        if (!insecure && !cluster.insecure() && !InetAddress.getByName(host).isLoopbackAddress()) {
            throw new Failures.UsageException("listening on " + host
                    + " lets other hosts reach this worker without TLS; add --insecure if the network is trusted");
        }
        RunSecret secret = secret();
        requireListener(seed);
        Config settings = ClusterSettings.of("worker", host, 0, cluster, secret);
        CompletableFuture<String> outcome = new CompletableFuture<>();
        Behavior<Void> guardian = Behaviors.setup(context -> {
            Cluster.get(context.getSystem()).manager().tell(new JoinSeedNodes(List.of(seed)));
            ActorRef<CoordinatorMessage> coordinator =
                    ActorRefResolver.get(context.getSystem()).resolveActorRef(seed + "/user/coordinator");
            WorkerActor.Setup setup = new WorkerActor.Setup(coordinator, secret, id, job, host, hostKey(), outcome);
            context.spawn(WorkerActor.create(setup), "worker");
            return Behaviors.empty();
        });
        ActorSystem<Void> system = ActorSystem.create(guardian, ClusterSettings.SYSTEM, settings);
        system.getWhenTerminated().thenAccept(done -> outcome.complete("this node was removed from the run's cluster"));
        watchParent();
        String problem = outcome.join();
        system.terminate();
        awaitTermination(system);
        if (problem != null) {
            System.err.println("shardloom: worker" + (id < 0 ? "" : " " + id) + ": " + problem);
        }
        return problem == null ? 0 : 1;
    }

    /** Leaving the cluster in good order takes a moment; the process ends all the same when nobody is left to answer. */
    private static void awaitTermination(ActorSystem<Void> system) throws InterruptedException {
        try {
            system.getWhenTerminated().toCompletableFuture().get(3, TimeUnit.SECONDS);
        } catch (ExecutionException | TimeoutException e) {
            LoggerFactory.getLogger(WorkerCommand.class)
                    .info("the cluster node did not end by itself: {}", e.toString());
        }
    }

    /** Says at once what the cluster would find out after a minute of trying. */
    private static void requireListener(Address coordinator) throws InterruptedException, IOException {
        String address =
                coordinator.getHost().get() + ":" + coordinator.getPort().get();
        long end = System.nanoTime() + LISTENER_WAIT.toNanos();
        while (true) {
            try (Socket socket = new Socket()) {
                socket.connect(
                        new InetSocketAddress(
                                coordinator.getHost().get(),
                                coordinator.getPort().get()),
                        (int) LISTENER_WAIT.toMillis());
                return;
            } catch (IOException e) {
                if (System.nanoTime() > end) {
                    throw new IOException("no run listens on " + address + " (" + e.getMessage()
                            + "); run.json in the run's output_dir has its address as \"join\"");
                }
                Thread.sleep(200);
            }
        }
    }

    /** A worker that was started through a connection ends with it. */
    private static String secretFromInput() throws IOException {
        InputStream input = System.in;
        StringBuilder line = new StringBuilder();
        for (int c = input.read(); c >= 0 && c != '\n' && line.length() < 1024; c = input.read()) {
            line.append((char) c);
        }
        Thread watch = new Thread(
                () -> {
                    try {
                        while (input.read() >= 0) {
                            LoggerFactory.getLogger(WorkerCommand.class).debug("more input is of no use");
                        }
                    } catch (IOException e) {
                        LoggerFactory.getLogger(WorkerCommand.class).debug("the input is gone", e);
                    }
                    endWithParent();
                },
                "input");
        watch.setDaemon(true);
        watch.start();
        return line.toString();
    }

    private RunSecret secret() throws IOException {
        if (secretFile != null && secretFile.toString().equals("-")) {
            return secretOf(secretFromInput());
        }
        if (secretFile != null && !Files.isReadable(secretFile)) {
            throw new Failures.UsageException("cannot read the run's secret: no readable file " + secretFile);
        }
        return secretOf(secretFile != null ? Files.readString(secretFile) : System.getenv(RunSecret.VARIABLE));
    }

    private static RunSecret secretOf(String hex) {
        if (hex == null || hex.isBlank()) {
            throw new Failures.UsageException(
                    "the run's secret is needed: set " + RunSecret.VARIABLE + " or give --secret-file");
        }
        try {
            return RunSecret.of(hex);
        } catch (IllegalArgumentException e) {
            throw new Failures.UsageException("the run's secret is not a hexadecimal number of at least 16 bytes");
        }
    }

    private static Address address(String hostAndPort) {
        int colon = hostAndPort.lastIndexOf(':');
        try {
            return new Address(
                    "akka",
                    ClusterSettings.SYSTEM,
                    hostAndPort.substring(0, colon),
                    Integer.parseInt(hostAndPort.substring(colon + 1)));
        } catch (IndexOutOfBoundsException | NumberFormatException e) {
            throw new Failures.UsageException("--join takes HOST:PORT, found '" + hostAndPort + "'");
        }
    }

    /** Workers share memory when they run under one kernel and are reached at one address. */
    private String hostKey() throws IOException {
        return host + "/"
                + Files.readString(Path.of("/proc/sys/kernel/random/boot_id")).strip();
    }

    /** A worker that the coordinator started ends with it, whatever way that ends. */
    private static void watchParent() {
        String parent = System.getenv("SHARDLOOM_PARENT");
        if (parent != null) {
            ProcessHandle.of(Long.parseLong(parent))
                    .ifPresentOrElse(
                            process -> process.onExit().thenAccept(gone -> endWithParent()),
                            WorkerCommand::endWithParent);
        }
    }

    private static void endWithParent() {
        System.err.println("the coordinator's process is gone: ending");
        Runtime.getRuntime().halt(3);
    }
}
