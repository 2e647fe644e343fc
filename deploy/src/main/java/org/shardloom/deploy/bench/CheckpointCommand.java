package org.shardloom.deploy.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.shardloom.protocol.disk.DiskSpace;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom bench checkpoint}. */
@Command(
        name = "checkpoint",
        description =
                "Writing, syncing, verifying and reading a checkpoint of one worker, and exporting it in bf16. Reading is from the page "
                        + "cache where the system has kept the file.",
        mixinStandardHelpOptions = true)
final class CheckpointCommand implements Callable<Integer> {
    @Option(
            names = "--config",
            paramLabel = "S|M|FILE",
            defaultValue = "S",
            description = "Whose size it has: 12 bytes for each parameter; default: ${DEFAULT-VALUE}.")
    private String config;

    @Option(
            names = "--dir",
            paramLabel = "DIR",
            defaultValue = "${sys:java.io.tmpdir}",
            description = "Where to write, in a directory that is removed afterwards; default: ${DEFAULT-VALUE}.")
    private Path directory;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() throws Exception {
        common.check();
        common.require(Files.isDirectory(directory), "--dir " + directory + " is not a directory");
        BenchModel model;
        try {
            model = BenchModel.of(config);
        } catch (IllegalArgumentException e) {
            common.require(false, e.getMessage());
            throw e;
        }
        DiskSpace.require(directory, CheckpointRounds.bytesNeeded(model), "the benchmark", directory);
        Report report = new Report("checkpoint")
                .fact("config", config)
                .fact("parameters", model.parameters())
                .fact("dir", directory.toAbsolutePath().normalize().toString())
                .fact("file_system", Files.getFileStore(directory).type())
                .fact("warmup_steps", common.warmup)
                .fact("measured_steps", common.steps);
        try (ScratchDirectory scratch = ScratchDirectory.in(directory, () -> {});
                CheckpointRounds rounds = new CheckpointRounds(model, scratch.path())) {
            for (int i = 0; i < common.warmup + common.steps; i++) {
                rounds.round(i >= common.warmup);
            }
            rounds.results().forEach((operation, taken) -> {
                Samples seconds = Samples.of(taken.seconds());
                report.row(Report.rowOf(
                        "operation", operation,
                        "bytes", taken.bytes(),
                        "seconds", seconds.median(),
                        "seconds_min", seconds.min(),
                        "seconds_max", seconds.max(),
                        "bytes_per_second", taken.bytes() / seconds.median()));
            });
        }
        common.print(report);
        return 0;
    }
}
