package org.shardloom.deploy.launch;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.shardloom.protocol.message.RunSecret;

/**
 * Workers of this host: the same program with the worker command. Each is a session of its own, so that Ctrl-C in a terminal reaches
 * the coordinator alone; each watches its parent, so that none outlives it.
 */
final class LocalCommandLine implements WorkerCommandLine {
    private final Path jobFile;
    private final RunSecret secret;
    private final String host;
    private final int workers;
    private final int threads;

    /**
     * Of one run.
     *
     * @param jobFile canonical job file of the run
     * @param host address that workers listen on
     * @param workers on this host; 1 where that is not known
     * @param threads of each; 0 when the processors are divided among them
     */
    LocalCommandLine(Path jobFile, RunSecret secret, String host, int workers, int threads) {
        this.jobFile = jobFile;
        this.secret = secret;
        this.host = host;
        this.workers = workers;
        this.threads = threads;
    }

    @Override
    public Process start(int workerId, String coordinator, ProcessBuilder builder) throws IOException {
        List<String> command = new ArrayList<>(List.of("setsid"));
        command.addAll(JavaCommand.of("worker"));
        command.addAll(List.of(
                "--join",
                coordinator,
                "--id",
                String.valueOf(workerId),
                "--config",
                jobFile.toString(),
                "--host",
                host));
        builder.command(command);
        builder.environment().put(RunSecret.VARIABLE, secret.hex());
        builder.environment()
                .put("SHARDLOOM_PARENT", String.valueOf(ProcessHandle.current().pid()));
        ComputeEnvironment.complete(builder.environment(), workers, threads);
        Process process = builder.start();
        process.getOutputStream().close();
        return process;
    }
}
