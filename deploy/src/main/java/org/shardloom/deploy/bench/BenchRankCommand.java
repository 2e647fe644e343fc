package org.shardloom.deploy.bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** One rank of a benchmark, in a process of its own; started by {@link RankProcesses} only. */
@Command(name = "bench-rank", hidden = true, description = "One rank of a benchmark; started by bench.")
public final class BenchRankCommand implements Callable<Integer> {
    @Option(names = "--dir", required = true, description = "Directory that the ranks share.")
    private Path directory;

    @Option(names = "--rank", required = true, description = "From 0.")
    private int rank;

    @Override
    public Integer call() throws Exception {
        watchParent();
        ObjectMapper json = new ObjectMapper();
        RankTask task = json.readValue(directory.resolve(RankProcesses.TASK).toFile(), RankTask.class);
        Object result = task.run(directory, rank);
        Path temporary = directory.resolve("writing-result-" + rank);
        json.writeValue(temporary.toFile(), result);
        Files.move(temporary, directory.resolve(RankProcesses.result(rank)), StandardCopyOption.ATOMIC_MOVE);
        return 0;
    }

    /** A rank never outlives the command that started it; after a kill that it could not see, it also cleans up for it. */
    private void watchParent() {
        String parent = System.getenv(RankProcesses.PARENT);
        if (parent == null) {
            return;
        }
        ProcessHandle.of(Long.parseLong(parent))
                .ifPresentOrElse(process -> process.onExit().thenAccept(gone -> endWithParent()), this::endWithParent);
    }

    private void endWithParent() {
        ScratchDirectory.delete(directory);
        Runtime.getRuntime().halt(3);
    }
}
