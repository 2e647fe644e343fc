package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
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
    private static final int MOST_SECONDS = 600;
    private static final int POLL_SECONDS = 2;

    @Option(names = "--now", description = "At once, without a checkpoint.")
    private boolean now;

    @Option(names = "--run", paramLabel = "OUTPUT_DIR", description = "Which run; default: the one started last.")
    private Path run;

    @Override
    public Integer call() throws Exception {
        Control control = Control.of(run);
        ProcessHandle process = control.run().process().orElse(null);
        JsonNode answer = control.post("/stop?now=" + now);
        if (process != null) {
            await(control, process);
        }
        System.out.println(answer.path("ended").asText("stopped"));
        return 0;
    }

    /** Waits for the coordinator's end, and says once what keeps it when that is not the checkpoint itself. */
    private static void await(Control control, ProcessHandle process) throws Exception {
        boolean told = false;
        for (int seconds = 0; seconds < MOST_SECONDS; seconds += POLL_SECONDS) {
            try {
                process.onExit().get(POLL_SECONDS, TimeUnit.SECONDS);
                return;
            } catch (TimeoutException e) {
                String detail = told ? "" : control.detail();
                if (detail.startsWith("paused")) {
                    told = true;
                    System.out.println("the run is " + detail
                            + ". It stops when there is space; stopped once more, it ends without this checkpoint");
                }
            }
        }
        throw new IOException("the coordinator (process " + process.pid() + ") is still there after " + MOST_SECONDS
                + " s; deploy/stop.sh --now ends it without a checkpoint");
    }
}
