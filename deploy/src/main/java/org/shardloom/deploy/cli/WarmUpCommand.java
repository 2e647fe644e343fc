package org.shardloom.deploy.cli;

import akka.actor.typed.ActorSystem;
import akka.actor.typed.Behavior;
import akka.actor.typed.javadsl.Behaviors;
import akka.cluster.typed.Cluster;
import akka.cluster.typed.Join;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.shardloom.deploy.cluster.ClusterSettings;
import org.shardloom.deploy.doctor.Doctor;
import org.shardloom.deploy.quickstart.QuickstartFiles;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.protocol.config.ClusterConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;
import org.shardloom.worker.loop.Session;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
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
            CompletableFuture<Boolean> joined = new CompletableFuture<>();
            Behavior<Void> guardian = Behaviors.setup(context -> {
                Cluster cluster = Cluster.get(context.getSystem());
                cluster.manager().tell(Join.create(cluster.selfMember().address()));
                joined.complete(true);
                return Behaviors.empty();
            });
            ActorSystem<Void> system = ActorSystem.create(
                    guardian,
                    ClusterSettings.SYSTEM,
                    ClusterSettings.of("worker", "127.0.0.1", 0, ClusterConfig.defaults(), secret));
            joined.get(30, TimeUnit.SECONDS);
            Path path = QuickstartFiles.create(directory, 1).job();
            List<String> alone = List.of("workers=1");
            JobFile file = JobFile.load(path, alone);
            JobConfig job = file.config();
            DecoderConfig model = ModelConfigReader.read(job.model().path());
            Doctor.beforeStart(Needs.of(path, alone, file, model, job.data()::maxLength), false);
            try (Session session = new Session(job, secret, 1)) {
                Member self = new Member(0, "127.0.0.1", "warm-up", -1, 0);
                session.start(
                        new StartGeneration(1, Origin.START, List.of(self), null, TrainingState.START),
                        0,
                        group -> (key, offer) -> List.of(offer),
                        new AbortSignal());
                session.step(1);
            }
            system.terminate();
            system.getWhenTerminated().toCompletableFuture().get(30, TimeUnit.SECONDS);
            return 0;
        } finally {
            WholeDirectory.delete(directory);
        }
    }
}
