package org.shardloom.deploy.launch;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import org.shardloom.coordinator.run.WorkerLauncher;
import org.shardloom.protocol.message.RunSecret;

/**
 * Worker processes of this host: the same program with the worker command. Each is a session of its own, so that Ctrl-C in a terminal
 * reaches the coordinator alone; each watches its parent, so that none outlives it.
 */
public final class LocalWorkerLauncher implements WorkerLauncher {
    private final Path jobFile;
    private final Path logs;
    private final RunSecret secret;
    private final String host;
    private final Map<Integer, Process> processes = new ConcurrentHashMap<>();

    /**
     * A launcher of one run.
     *
     * @param jobFile canonical job file of the run
     * @param logs directory for each worker's output
     * @param host address that workers listen on
     */
    public LocalWorkerLauncher(Path jobFile, Path logs, RunSecret secret, String host) {
        this.jobFile = jobFile;
        this.logs = logs;
        this.secret = secret;
        this.host = host;
    }

    @Override
    public void launch(int workerId, String coordinator, BiConsumer<Integer, String> onExit) {
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
        Path log = logs.resolve("worker-" + workerId + ".log");
        try {
            Files.createDirectories(logs);
            ProcessBuilder builder =
                    new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
            builder.environment().put(RunSecret.VARIABLE, secret.hex());
            builder.environment()
                    .put(
                            "SHARDLOOM_PARENT",
                            String.valueOf(ProcessHandle.current().pid()));
            builder.environment().putIfAbsent("OMP_WAIT_POLICY", "PASSIVE");
            builder.environment().putIfAbsent("MALLOC_ARENA_MAX", "2");
            Process process = builder.start();
            process.getOutputStream().close();
            processes.put(workerId, process);
            process.onExit().thenAccept(ended -> {
                processes.remove(workerId, process);
                onExit.accept(
                        workerId,
                        "its process ended with status " + describe(ended.exitValue()) + " (see " + log + ")");
            });
        } catch (IOException e) {
            onExit.accept(workerId, "its process could not be started: " + e.getMessage());
        }
    }

    private static String describe(int status) {
        return status > 128 ? status + ", killed by signal " + (status - 128) : String.valueOf(status);
    }

    @Override
    public void kill(int workerId) {
        Process process = processes.get(workerId);
        if (process != null) {
            process.destroyForcibly();
        }
    }

    @Override
    public void killAll() {
        List<Process> all = List.copyOf(processes.values());
        all.forEach(Process::destroyForcibly);
        all.forEach(process -> process.onExit().join());
    }

    @Override
    public int running() {
        return (int) processes.values().stream().filter(Process::isAlive).count();
    }
}
