package org.shardloom.worker.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.zip.CRC32C;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.disk.DiskSpace;
import org.shardloom.protocol.disk.NoSpaceException;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.optim.StateWindow;
import org.shardloom.worker.weights.SafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.WeightDtype;

/**
 * One rank's shard of a checkpoint: a safetensors file with, for each unit and part, the fp32 elements that the rank owns, named
 * {@code layers.3/exp_avg}. Padding is not written.
 */
public final class ShardFiles {
    /** Elements that are written at a time: 16 MB. */
    public static final long PIECE = 4L << 20;
    /** Room left on the disk beyond the shard itself: headers, manifest, logs. */
    private static final long MARGIN = 1L << 20;

    private ShardFiles() {}

    /**
     * A shard on disk.
     *
     * @param checksum CRC-32C of the whole file
     */
    public record Written(String file, long bytes, byte[] checksum) {}

    /** Name of a rank's file. */
    public static String fileName(int rank, int worldSize) {
        return String.format(Locale.ROOT, "shard-%05d-of-%05d.safetensors", rank, worldSize);
    }

    static String tensorName(String unit, Part part) {
        return unit + "/" + part.key;
    }

    /**
     * Writes the rank's shard and syncs it to the disk.
     *
     * @throws NoSpaceException before anything is written when the free space cannot hold the shard
     */
    public static Written write(Path directory, ShardPlan plan, int rank, OptimizerShard state) throws IOException {
        List<TensorInfo> tensors = new ArrayList<>();
        long bytes = 0;
        for (int u = 0; u < plan.units().size(); u++) {
            for (Part part : Part.values()) {
                long length = plan.owned(u, rank).length();
                tensors.add(TensorInfo.of(tensorName(plan.units().get(u).name(), part), WeightDtype.F32, length));
                bytes += length * 4;
            }
        }
        // The coordinator has asked for room for every shard; this finds what has changed since, or another disk of
        // another host.
        DiskSpace.require(directory, bytes + MARGIN, "a rank's shard", directory.getParent());
        Path file = directory.resolve(fileName(rank, plan.worldSize()));
        Map<String, String> metadata =
                Map.of("rank", String.valueOf(rank), "world_size", String.valueOf(plan.worldSize()));
        try (StateWindow window = new StateWindow(state, PIECE);
                SafetensorsWriter writer = SafetensorsWriter.create(file, tensors, metadata)) {
            for (int u = 0; u < plan.units().size(); u++) {
                for (Part part : Part.values()) {
                    String name = tensorName(plan.units().get(u).name(), part);
                    long length = plan.owned(u, rank).length();
                    for (long from = 0; from < length; from += PIECE) {
                        Tensor piece = window.read(u, part, from, Math.min(PIECE, length - from));
                        writer.append(name, HostBytes.view(piece.address(), piece.bytes()));
                    }
                }
            }
            writer.finish();
        } catch (IOException e) {
            throw DiskSpace.explained(e);
        }
        return new Written(file.getFileName().toString(), Files.size(file), checksum(file));
    }

    /** CRC-32C of the file, big endian: against damage, at the speed of memory. */
    static byte[] checksum(Path file) throws IOException {
        CRC32C crc = new CRC32C();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(1 << 20);
            while (channel.read(buffer) >= 0) {
                crc.update(buffer.flip());
                buffer.clear();
            }
        }
        return ByteBuffer.allocate(4).putInt((int) crc.getValue()).array();
    }
}
