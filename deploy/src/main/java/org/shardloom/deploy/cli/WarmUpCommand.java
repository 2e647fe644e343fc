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
    @Override
    public Integer call() throws Exception {
        Path directory = Files.createTempDirectory("shardloom-warm-up");
        RunSecret secret = RunSecret.random();
        try {
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
            int trained = run("start", "--config=" + path, "--workers=1", "--device=cpu", "--set=train.max_steps=1");
            Path made = job.outputDir().resolve("final");
            int answered = run("generate", "--model=" + made, "--device=cpu", "--prompt=a", "--max-new-tokens=2");
            return trained != 0 ? trained : answered;
        } finally {
            WholeDirectory.delete(directory);
        }
    }

    private static int run(String... arguments) {
        return Main.run(new PrintWriter(System.out, true), new PrintWriter(System.err, true), arguments);
    }
}
