package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code deploy/scale.sh N}. */
@Command(
        name = "scale",
        description = "Changes the number of workers of a run; returns when it goes on with that many.",
        mixinStandardHelpOptions = true)
final class ScaleCommand implements Callable<Integer> {
    @Parameters(index = "0", paramLabel = "N", description = "Number of workers.")
    private int workers;

    @Option(names = "--run", paramLabel = "OUTPUT_DIR", description = "Which run; default: the one started last.")
    private Path run;

    @Override
    public Integer call() throws Exception {
        if (workers < 1) {
            throw new Failures.UsageException("the number of workers must be at least 1, found " + workers);
        }
        long started = System.nanoTime();
        JsonNode status = Control.of(run).post("/scale?workers=" + workers);
        System.out.printf(
                Locale.ROOT,
                "the run goes on with %d workers after step %d (%.1f s)%n",
                workers,
                status.path("step").asLong(),
                (System.nanoTime() - started) * 1e-9);
        return 0;
    }
}
