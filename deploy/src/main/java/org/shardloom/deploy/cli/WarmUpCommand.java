package org.shardloom.deploy.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.shardloom.deploy.quickstart.QuickstartFiles;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.disk.DiskSpace;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;
import org.shardloom.worker.loop.Session;
import picocli.CommandLine.Command;

/**
 * Goes once through what every process of a run does, so that the build can record the classes that it loads (class-data sharing) and
 * the native libraries lie unpacked: worker processes then start in half the time.
 */
@Command(name = "warm-up", hidden = true, description = "Used by the build.")
final class WarmUpCommand implements Callable<Integer> {
    /** For a checkpoint and a model, with room to spare: a run waits for space, and nobody waits for this one. */
    private static final long ROOM = 400_000_000;

    @Override
    public Integer call() throws Exception {
        Path directory = Files.createTempDirectory("shardloom-warm-up");
        RunSecret secret = RunSecret.random();
        try {
            DiskSpace.require(directory, ROOM, "a run to record classes from", directory);
            Path path = QuickstartFiles.create(directory, 1).job();
            JobConfig job =
                    JobFile.load(path, List.of("workers=1", "device=cpu")).config();
            try (Session session = new Session(job, secret, 1)) {
                Member self = new Member(0, "127.0.0.1", "warm-up", -1, 0);
                session.start(
                        new StartGeneration(1, Origin.START, List.of(self), null, TrainingState.START),
                        0,
                        group -> (key, offer) -> List.of(offer),
                        new AbortSignal());
                session.step(1);
            }
            // A worker in a process of its own, for what is loaded only when two speak to each other.
            String replacements = "--set=cluster.allow_replacement=false";
            int code = run(
                    "start",
                    "--config=" + path,
                    "--workers=1",
                    "--device=cpu",
                    "--set=train.max_steps=1",
                    replacements);
            Path made = job.outputDir().resolve("final");
            return code != 0
                    ? code
                    : run("generate", "--model=" + made, "--device=cpu", "--prompt=a", "--max-new-tokens=2");
        } finally {
            WholeDirectory.delete(directory);
        }
    }

    private static int run(String... arguments) {
        return Main.run(new PrintWriter(System.out, true), new PrintWriter(System.err, true), arguments);
    }
}
