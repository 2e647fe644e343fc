package org.shardloom.worker.checkpoint;

import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.shardloom.protocol.checkpoint.Guard;
import org.shardloom.protocol.checkpoint.Manifest;
import org.shardloom.protocol.checkpoint.Shard;
import org.shardloom.protocol.checkpoint.Unit;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.ShardPlan;

/** Writes manifests, which in a run is the coordinator's part. */
public final class Saved {
    private Saved() {}

    /** Completes a directory of shards, by rank. */
    public static void manifest(
            Path directory, ShardPlan plan, TrainingState state, String modelConfig, List<ShardFiles.Written> shards)
            throws IOException {
        Files.write(
                directory.resolve("manifest.pb"),
                builder(plan, state, modelConfig, shards).build().toByteArray());
    }

    static Manifest.Builder builder(
            ShardPlan plan, TrainingState state, String modelConfig, List<ShardFiles.Written> shards) {
        Manifest.Builder manifest = Manifest.newBuilder()
                .setFormatVersion(1)
                .setStep(state.step())
                .setUpdates(state.updates())
                .setLossScale(state.lossScale())
                .setGoodSteps(state.goodSteps())
                .setGuard(Guard.newBuilder()
                        .setSteps(state.guard().steps())
                        .setLowLoss(state.guard().lowLoss())
                        .setLowNorm(state.guard().lowNorm())
                        .setUsualLogNorm(state.guard().usualLogNorm())
                        .setFirstLogNorm(state.guard().firstLogNorm())
                        .setSkipped(state.guard().skipped())
                        .setOverflows(state.guard().overflows()))
                .setWorldSize(plan.worldSize())
                .setJobYaml("model: {path: /m}\ndata: {train: [/d]}\noutput_dir: /o\n")
                .setModelConfigJson(modelConfig);
        plan.units()
                .forEach(u ->
                        manifest.addUnits(Unit.newBuilder().setName(u.name()).setElements(u.elements())));
        shards.forEach(s -> manifest.addShards(Shard.newBuilder()
                .setFile(s.file())
                .setBytes(s.bytes())
                .setChecksum(ByteString.copyFrom(s.checksum()))));
        return manifest;
    }
}
