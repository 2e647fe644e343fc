package org.shardloom.worker.checkpoint;

import com.google.protobuf.util.JsonFormat;
import java.io.Closeable;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntPredicate;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.checkpoint.Guard;
import org.shardloom.protocol.checkpoint.Manifest;
import org.shardloom.protocol.checkpoint.Shard;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.Resharding;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.protocol.plan.UnitSize;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.optim.StateWindow;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorInfo;

/** A checkpoint on disk, for reading by any number of ranks. */
public final class Checkpoint implements Closeable {
    private final Path directory;
    private final Manifest manifest;
    private final ShardPlan plan;
    private final List<SafetensorsFile> shards;

    private Checkpoint(Path directory, Manifest manifest, ShardPlan plan, List<SafetensorsFile> shards) {
        this.directory = directory;
        this.manifest = manifest;
        this.plan = plan;
        this.shards = shards;
    }

    /**
     * Opens a checkpoint and checks that every shard is there with the length and the tensors that the manifest asks for.
     *
     * @param verify also compare every shard's checksum
     * @throws CheckpointException with the directory and what is wrong with it
     */
    public static Checkpoint open(Path directory, boolean verify) throws IOException {
        return open(directory, shard -> verify);
    }

    /**
     * As above, comparing the checksums of some shards: ranks that load together share the work.
     *
     * @param verified whether to compare the checksum of the shard with that index
     */
    public static Checkpoint open(Path directory, IntPredicate verified) throws IOException {
        Manifest manifest = readManifest(directory);
        List<UnitSize> units = manifest.getUnitsList().stream()
                .map(u -> new UnitSize(u.getName(), u.getElements()))
                .toList();
        if (manifest.getFormatVersion() != 1) {
            throw new CheckpointException(directory + ": format version " + manifest.getFormatVersion()
                    + " is not known; this program reads version 1");
        }
        if (units.stream().anyMatch(u -> u.elements() < 1)) {
            throw new CheckpointException(directory + "/manifest.pb: a unit without elements");
        }
        if (manifest.getWorldSize() < 1 || manifest.getShardsCount() != manifest.getWorldSize() || units.isEmpty()) {
            throw new CheckpointException(directory + "/manifest.pb: " + manifest.getShardsCount()
                    + " shards for a world of " + manifest.getWorldSize());
        }
        ShardPlan plan = new ShardPlan(manifest.getWorldSize(), units);
        List<SafetensorsFile> shards = new ArrayList<>();
        Checkpoint checkpoint = new Checkpoint(directory, manifest, plan, shards);
        try {
            for (int rank = 0; rank < plan.worldSize(); rank++) {
                shards.add(openShard(directory, manifest.getShards(rank), plan, rank, verified.test(rank)));
            }
        } catch (IOException | RuntimeException e) {
            checkpoint.close();
            throw e;
        }
        return checkpoint;
    }

    private static Manifest readManifest(Path directory) throws CheckpointException {
        Path file = directory.resolve("manifest.pb");
        if (!Files.isRegularFile(file)) {
            throw new CheckpointException(directory + " is not a complete checkpoint: it has no manifest.pb");
        }
        Manifest manifest;
        try {
            manifest = Manifest.parseFrom(Files.readAllBytes(file));
        } catch (IOException e) {
            throw new CheckpointException(file + " is corrupted: " + e.getMessage());
        }
        requireSame(manifest, directory.resolve("manifest.json"));
        return manifest;
    }

    /** The JSON form is the second copy that shows damage which still parses. */
    private static void requireSame(Manifest manifest, Path json) throws CheckpointException {
        if (manifest.getFormatVersion() != 1 || !Files.isRegularFile(json)) {
            return;
        }
        Manifest.Builder copy = Manifest.newBuilder();
        try {
            JsonFormat.parser().merge(Files.readString(json), copy);
        } catch (IOException e) {
            throw new CheckpointException(json + " is corrupted: " + e.getMessage());
        }
        if (!copy.build().equals(manifest)) {
            throw new CheckpointException(
                    json.getParent() + " is corrupted: manifest.pb and manifest.json do not say the same");
        }
    }

    private static SafetensorsFile openShard(Path directory, Shard shard, ShardPlan plan, int rank, boolean verify)
            throws IOException {
        String expected = ShardFiles.fileName(rank, plan.worldSize());
        if (!shard.getFile().equals(expected)) {
            throw new CheckpointException(directory + "/manifest.pb: shard " + rank + " is called '" + shard.getFile()
                    + "', expected " + expected);
        }
        Path file = directory.resolve(expected);
        if (!Files.isRegularFile(file)) {
            throw new CheckpointException(
                    directory + ": shard " + expected + " is missing; the checkpoint cannot be used");
        }
        if (Files.size(file) != shard.getBytes()) {
            throw new CheckpointException(file + " has " + Files.size(file) + " bytes, the manifest says "
                    + shard.getBytes() + "; the checkpoint cannot be used");
        }
        if (verify
                && !Arrays.equals(ShardFiles.checksum(file), shard.getChecksum().toByteArray())) {
            throw new CheckpointException(file + " is corrupted: its checksum is not the manifest's");
        }
        SafetensorsFile opened = SafetensorsFile.open(file);
        for (int u = 0; u < plan.units().size(); u++) {
            for (Part part : Part.values()) {
                TensorInfo info = opened.tensors()
                        .get(ShardFiles.tensorName(plan.units().get(u).name(), part));
                if (info == null || info.elementCount() != plan.owned(u, rank).length()) {
                    opened.close();
                    throw new CheckpointException(file + ": "
                            + plan.units().get(u).name() + "/" + part.key + " is missing or of the wrong length");
                }
            }
        }
        return opened;
    }

    public Manifest manifest() {
        return manifest;
    }

    /** Units and world size that it was written with. */
    public ShardPlan plan() {
        return plan;
    }

    /** Where training was. */
    public TrainingState state() {
        Guard guard = manifest.getGuard();
        return new TrainingState(
                manifest.getStep(),
                manifest.getUpdates(),
                manifest.getLossScale(),
                manifest.getGoodSteps(),
                new GuardState(
                        guard.getSteps(),
                        guard.getLowLoss(),
                        guard.getLowNorm(),
                        guard.getUsualLogNorm(),
                        guard.getFirstLogNorm(),
                        guard.getSkipped(),
                        guard.getOverflows()));
    }

    /**
     * Fills a rank's slices, whatever the world size of either side.
     *
     * @throws CheckpointException when it is of another model
     */
    public void load(ShardPlan target, int rank, OptimizerShard state) throws IOException {
        requireUnits(target.units());
        try (StateWindow window = new StateWindow(state, ShardFiles.PIECE)) {
            for (Resharding.Transfer t : Resharding.between(plan, target)) {
                for (Part part : t.targetRank() == rank ? Part.values() : new Part[0]) {
                    load(t, part, target.owned(t.unit(), rank).from(), window);
                }
            }
        }
    }

    /** @param start where the slice begins in its unit */
    private void load(Resharding.Transfer t, Part part, long start, StateWindow window) throws IOException {
        for (long at = t.interval().from(); at < t.interval().to(); at += ShardFiles.PIECE) {
            long count = Math.min(ShardFiles.PIECE, t.interval().to() - at);
            Tensor to = window.write(t.unit(), part, at - start, count);
            read(
                    t.unit(),
                    part,
                    t.sourceRank(),
                    at,
                    HostBytes.view(to.address(), to.bytes()).asFloatBuffer());
            window.store();
        }
    }

    /** Reads consecutive elements of a unit's flat buffer, across shards. */
    public void read(int unit, Part part, long from, FloatBuffer to) throws IOException {
        Interval wanted = new Interval(from, from + to.remaining());
        FloatBuffer out = to.duplicate();
        for (int rank = 0; rank < plan.worldSize(); rank++) {
            Interval common = plan.owned(unit, rank).intersect(wanted);
            if (!common.isEmpty()) {
                FloatBuffer piece = out.duplicate().limit(out.position() + (int) common.length());
                read(unit, part, rank, common.from(), piece.slice());
                out.position(out.position() + (int) common.length());
            }
        }
    }

    private void read(int unit, Part part, int shard, long from, FloatBuffer to) throws IOException {
        long start = plan.owned(unit, shard).from();
        shards.get(shard).read(ShardFiles.tensorName(plan.units().get(unit).name(), part), from - start, to);
    }

    /** Fails when the model's units are not the checkpoint's. */
    public void requireUnits(List<UnitSize> units) throws CheckpointException {
        if (!plan.units().equals(units)) {
            throw new CheckpointException(directory + " is a checkpoint of another model: it has "
                    + describe(plan.units()) + ", the job's model has " + describe(units));
        }
    }

    private static String describe(List<UnitSize> units) {
        return units.size() + " units with "
                + units.stream().mapToLong(UnitSize::elements).sum() + " elements";
    }

    @Override
    public void close() {
        shards.forEach(SafetensorsFile::close);
    }
}
