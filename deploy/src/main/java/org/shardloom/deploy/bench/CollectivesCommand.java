package org.shardloom.deploy.bench;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom bench collectives}. */
@Command(
        name = "collectives",
        description =
                "All-gather, reduce-scatter and all-reduce between processes of this host. Bytes are those of the whole tensor; each rank "
                        + "uses one thread, as in a run.",
        mixinStandardHelpOptions = true)
final class CollectivesCommand implements Callable<Integer> {
    @Option(
            names = "--workers",
            paramLabel = "N",
            defaultValue = "4",
            description = "Processes; default: ${DEFAULT-VALUE}.")
    private int workers;

    @Option(
            names = "--transport",
            paramLabel = "shm|aeron",
            defaultValue = "shm",
            description = "What carries the bytes; default: ${DEFAULT-VALUE}.")
    private String transport;

    @Option(
            names = "--sizes",
            paramLabel = "MIB",
            split = ",",
            defaultValue = "1,16,64",
            description = "Bytes of the whole tensor, in MiB, separated by commas; default: ${DEFAULT-VALUE}.")
    private List<Integer> sizes;

    @Option(
            names = "--time-limit",
            paramLabel = "SECONDS",
            defaultValue = "600",
            description = "Ends what takes longer; default: ${DEFAULT-VALUE}.")
    private long timeLimitSeconds;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() throws Exception {
        common.check();
        common.require(workers >= 1 && workers <= 64, "--workers is from 1 to 64, found " + workers);
        common.require(transport.matches("shm|aeron"), "--transport is shm or aeron, found '" + transport + "'");
        common.require(
                sizes.stream().allMatch(s -> s >= 1 && s <= 1024), "--sizes are from 1 to 1024 MiB, found " + sizes);
        Report report = new Report("collectives")
                .fact("workers", workers)
                .fact("transport", workers == 1 ? "local" : transport)
                .fact("warmup_steps", common.warmup)
                .fact("measured_steps", common.steps);
        // A slice of every rank, in whole cache lines.
        long unit = 64L * workers;
        List<Long> bytes =
                sizes.stream().map(s -> ((long) s << 20) / unit * unit).toList();
        CollectivesRank.Setup setup = new CollectivesRank.Setup(bytes, common.warmup, common.steps);
        RankTask task = new RankTask(workers, transport, RankProcesses.secret(), null, setup);
        fill(report, RankProcesses.run(task, CollectivesRank.Result.class, Duration.ofSeconds(timeLimitSeconds)));
        common.print(report);
        return 0;
    }

    private void fill(Report report, List<CollectivesRank.Result> ranks) {
        for (int m = 0; m < ranks.get(0).measured().size(); m++) {
            int index = m;
            CollectivesRank.Measured first = ranks.get(0).measured().get(m);
            Samples slowest = Samples.of(IntStream.range(0, common.steps)
                    .mapToDouble(i -> ranks.stream()
                            .mapToDouble(r -> r.measured().get(index).seconds().get(i))
                            .max()
                            .orElseThrow())
                    .toArray());
            report.row(Report.rowOf(
                    "operation", first.operation(),
                    "dtype", first.dtype(),
                    "operands", first.operands(),
                    "bytes", first.bytes(),
                    "seconds", slowest.median(),
                    "seconds_min", slowest.min(),
                    "seconds_max", slowest.max(),
                    "bytes_per_second", first.bytes() / slowest.median()));
        }
    }
}
