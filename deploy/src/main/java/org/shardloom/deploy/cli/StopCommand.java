package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code deploy/stop.sh}. */
@Command(
        name = "stop",
        description = "Stops a run at the next step, with a checkpoint; returns when it has ended.",
        mixinStandardHelpOptions = true)
final class StopCommand implements Callable<Integer> {
    private static final long MOST_SECONDS = 600;

    @Option(names = "--now", description = "At once, without a checkpoint.")
    private boolean now;

    @Option(names = "--run", paramLabel = "OUTPUT_DIR", description = "Which run; default: the one started last.")
    private Path run;

    @Override
    public Integer call() throws Exception {
        Control control = Control.of(run);
        control.post("/stop?now=" + now);
        ProcessHandle process = ProcessHandle.of(control.run().pid()).orElse(null);
        if (process != null) {
            try {
                process.onExit().get(MOST_SECONDS, TimeUnit.SECONDS);
            } catch (TimeoutException e) {
                throw new java.io.IOException("the coordinator (process "
                        + control.run().pid() + ") is still there after " + MOST_SECONDS + " s");
            }
        }
        System.out.println("stopped");
        return 0;
    }
}
