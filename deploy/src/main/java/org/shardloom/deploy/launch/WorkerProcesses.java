package org.shardloom.deploy.launch;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import org.shardloom.coordinator.run.WorkerLauncher;

/** The worker processes of a run, each with a log file. */
final class WorkerProcesses implements WorkerLauncher {
    private final WorkerCommandLine commands;
    private final Path logs;
    private final Map<Integer, Process> processes = new ConcurrentHashMap<>();

    /**
     * None yet.
     *
     * @param logs directory for each worker's output
     */
    WorkerProcesses(WorkerCommandLine commands, Path logs) {
        this.commands = commands;
        this.logs = logs;
    }

    @Override
    public void launch(int workerId, String coordinator, BiConsumer<Integer, String> onExit) {
        Path log = logs.resolve("worker-" + workerId + ".log");
        try {
            Files.createDirectories(logs);
            Process process = commands.start(
                    workerId,
                    coordinator,
                    new ProcessBuilder().redirectErrorStream(true).redirectOutput(log.toFile()));
            processes.put(workerId, process);
            process.onExit().thenAccept(ended -> {
                processes.remove(workerId, process);
                commands.ended(workerId);
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
