package org.shardloom.deploy.cli;

import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.coordinator.run.CoordinatorActor.Outcome;
import org.shardloom.deploy.launch.HostsFile;
import org.shardloom.deploy.launch.OutputLock;
import org.shardloom.deploy.launch.Run;
import org.shardloom.deploy.quickstart.Quickstart;
import org.shardloom.deploy.quickstart.QuickstartFiles;
import org.shardloom.protocol.config.DeviceChoice;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.JobPreflight;
import org.shardloom.protocol.config.JobProblem;
import org.shardloom.worker.loop.TemplateFamily;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.tuning.TrainedSummary;
import org.shardloom.worker.tuning.Tuning;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code deploy/start.sh}: runs a job in the foreground, or the quickstart. */
@Command(
        name = "start",
        description = {
            "Runs a fine-tuning job and shows its progress. Without a job file: the quickstart, a small model trained from scratch on this machine."
        },
        footer = {
            "",
            "Other uses of deploy/start.sh:",
            "  --detach                        Returns when training has begun; the run goes on.",
            "  --role worker --join HOST:PORT  Is one more worker of a run that is under way, on this or another host;",
            "                                  --role worker --help tells more.",
            "",
            "Ctrl-C writes a checkpoint and stops; a second one stops at once.",
            "Exit status: 0 done, or stopped by deploy/stop.sh; 1 failed; 2 wrong usage or a bad job file;",
            "143 ended by Ctrl-C or SIGTERM, with a checkpoint.",
            "Examples:",
            "  deploy/start.sh",
            "  deploy/start.sh --config job.yaml --workers 4 --set train.learning_rate=5e-5",
            "  deploy/start.sh --config job.yaml --resume latest"
        },
        mixinStandardHelpOptions = true)
final class StartCommand implements Callable<Integer> {
    @Option(names = "--config", paramLabel = "FILE", description = "The job file (YAML).")
    private Path config;

    @Option(names = "--workers", paramLabel = "N", description = "Number of workers; overrides the job file.")
    private Integer workers;

    @Option(names = "--device", paramLabel = "cpu|cuda", description = "Device of the workers; overrides the job file.")
    private String device;

    @Option(
            names = "--set",
            paramLabel = "KEY=VALUE",
            description = "Overrides a key of the job file; may be repeated.")
    private List<String> overrides = new ArrayList<>();

    @Option(
            names = "--resume",
            paramLabel = "DIR|latest",
            description = "Goes on from a checkpoint directory, or the newest of output_dir.")
    private String resume;

    @Option(
            names = "--quickstart-dir",
            paramLabel = "DIR",
            description = "Where the quickstart puts its files; default: a new folder in runs/.")
    private Path quickstartDir;

    @Option(
            names = "--hosts",
            paramLabel = "FILE",
            description =
                    "Starts workers on these hosts through ssh, too: a file with an address and a number of workers a line. "
                            + "Needs cluster.host and cluster.insecure; program, model and data lie at the same place everywhere.")
    private Path hosts;

    @Option(
            names = "--no-plan",
            description = "Starts without asking first whether this host is fit for the job: memory, disk, GPUs.")
    private boolean unplanned;

    @Option(names = "--detached-log", hidden = true, description = "Set by start.sh --detach.")
    private Path detachedLog;

    @Override
    public Integer call() throws Exception {
        Optional<DetachedLog> log = Optional.ofNullable(detachedLog).map(DetachedLog::install);
        if (hosts != null && config == null) {
            throw new Failures.UsageException(
                    "--hosts needs a job file: the quickstart's files are on this host only; add --config FILE");
        }
        Optional<HostsFile> places = hosts == null ? Optional.empty() : Optional.of(HostsFile.read(hosts));
        List<String> all = new ArrayList<>(overrides);
        if (workers != null) {
            all.add("workers=" + workers);
        } else {
            places.ifPresent(h -> all.add("workers=" + h.workers()));
        }
        if (device != null) {
            all.add("device=" + device);
        }
        Optional<QuickstartFiles> quickstart = Optional.empty();
        if (config == null) {
            quickstart = Optional.of(
                    QuickstartFiles.create(quickstartDir != null ? quickstartDir : newRunDirectory(), 1234));
            config = quickstart.get().job();
            Quickstart.announce(System.out, quickstart.get());
        }
        JobFile file = JobFile.load(config, all);
        if (file.config().device() == DeviceChoice.AUTO) {
            all.add("device=" + (ComputeFlags.seesGpu() ? "cuda" : "cpu"));
            file = JobFile.load(config, all);
        }
        JobConfig job = checked(file);
        if (places.isPresent()) {
            requireReachable(job, places.get());
        }
        Optional<Path> checkpoint = checkpoint(job);
        DecoderConfig model = ModelFiles.check(job, checkpoint);
        List<String> opening = new ArrayList<>(
                TrainedSummary.lines(Tuning.of(model, job.method().tuning())));
        TemplateFamily.describe(job).ifPresent(opening::add);
        if (!unplanned) {
            Needs.requireFit(config, all, file, model, places.isPresent()).forEach(w -> opening.add("warning: " + w));
        }
        Progress progress = new Progress(
                System.out, Boolean.getBoolean("shardloom.terminal") && detachedLog == null, job.outputDir(), log);
        progress.open(opening);
        Outcome outcome = run(new Run(job, checkpoint, places, progress), progress);
        if (outcome.success()
                && quickstart.isPresent()
                && Files.isDirectory(job.outputDir().resolve("final"))) {
            Quickstart.answerHeldOut(
                    System.out, quickstart.get(), job.outputDir().resolve("final"));
        }
        return outcome.success() ? 0 : 1;
    }

    private static Path newRunDirectory() {
        String name = "quickstart-" + LocalDateTime.now().format(DateTimeFormatter.ofPattern("yyyyMMdd-HHmmss"));
        return Path.of(System.getProperty("shardloom.home", "."))
                .resolve("runs")
                .resolve(name);
    }

    /** A job whose files are there; its problems are reported all at once. */
    static JobConfig checked(JobFile file) {
        List<JobProblem> problems = JobPreflight.check(file);
        if (!problems.isEmpty()) {
            throw new JobConfigException(problems);
        }
        return file.config();
    }

    private Optional<Path> checkpoint(JobConfig job) throws IOException {
        if (resume == null) {
            return Optional.empty();
        }
        if (resume.equals("latest")) {
            OutputLock.heal(job.outputDir());
            return Optional.of(CheckpointFiles.latest(job.outputDir())
                    .orElseThrow(() -> new Failures.UsageException(
                            "no complete checkpoint in " + job.outputDir() + " to resume from")));
        }
        Path directory = Path.of(resume).toAbsolutePath().normalize();
        if (!Files.exists(directory) && directory.getParent() != null) {
            OutputLock.heal(directory.getParent());
        }
        if (!Files.exists(directory.resolve("manifest.pb"))) {
            throw new Failures.UsageException(directory + " is not a complete checkpoint: it has no manifest.pb");
        }
        return Optional.of(directory);
    }

    private void requireReachable(JobConfig job, HostsFile places) throws IOException {
        if (!job.cluster().insecure()
                || InetAddress.getByName(job.cluster().host()).isLoopbackAddress()) {
            throw new Failures.UsageException(
                    "--hosts needs an address that the other hosts reach: add --set cluster.host=ADDRESS and, "
                            + "on a trusted network, --set cluster.insecure=true");
        }
        if (job.workers() > places.workers()) {
            throw new Failures.UsageException(
                    job.workers() + " workers are asked for, but " + hosts + " has room for " + places.workers());
        }
    }

    private Outcome run(Run run, Progress progress) throws Run.RunException, IOException {
        Thread hook = new Thread(
                () -> {
                    run.stop(false);
                    Outcome outcome = run.outcome().join();
                    progress.end(outcome);
                    awaitCleanUp();
                },
                "stop");
        Runtime.getRuntime().addShutdownHook(hook);
        try {
            Outcome outcome = run.execute();
            progress.end(outcome);
            return outcome;
        } finally {
            cleanedUp.countDown();
            remove(hook);
        }
    }

    private static void remove(Thread hook) {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // It is running: the process was asked to end, and ends when the hook is done.
            LoggerFactory.getLogger(StartCommand.class).debug("ending already");
        }
    }

    private final java.util.concurrent.CountDownLatch cleanedUp = new java.util.concurrent.CountDownLatch(1);

    private void awaitCleanUp() {
        try {
            cleanedUp.await(20, java.util.concurrent.TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public String toString() {
        return "start " + config + " " + overrides.stream().collect(Collectors.joining(" "));
    }
}
