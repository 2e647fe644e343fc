package org.shardloom.deploy.launch;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.BiConsumer;
import java.util.stream.Stream;
import org.shardloom.coordinator.run.WorkerLauncher;
import org.shardloom.kernels.collective.aeron.AeronOptions;

/** The worker processes of a run, each with a log file. */
final class WorkerProcesses implements WorkerLauncher {
    private final WorkerCommandLine commands;
    private final Path logs;
    private final Map<Integer, Process> processes = new ConcurrentHashMap<>();
    /** Killed, but not gone yet: their successors need not wait for that. */
    private final Set<Process> ending = ConcurrentHashMap.newKeySet();

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
                ending.remove(process);
                commands.ended(workerId);
                AeronOptions.removeLeftovers(); // of a worker that was killed
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
        Process process = processes.remove(workerId);
        if (process != null) {
            ending.add(process);
            commands.ended(workerId);
            process.destroyForcibly();
            if (!process.isAlive()) {
                ending.remove(process);
            }
        }
    }

    private List<Process> all() {
        return Stream.concat(processes.values().stream(), ending.stream()).toList();
    }

    @Override
    public void killAll() {
        List<Process> all = all();
        all.forEach(Process::destroyForcibly);
        all.forEach(process -> process.onExit().join());
    }

    @Override
    public int running() {
        return (int) all().stream().filter(Process::isAlive).count();
    }
}
