package org.shardloom.worker.weights;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Writes a checkpoint directory that Hugging Face tools and {@link WeightsDirectory} read: one {@code
 * model.safetensors}, or {@code model-0000K-of-0000N.safetensors} with {@code model.safetensors.index.json}.
 *
 * <p>Data is appended in the order the tensors were declared. All files keep temporary names until {@link #finish},
 * which renames the shards and writes the index last; closing without it deletes them. Not thread-safe.
 */
public final class ShardedSafetensorsWriter implements Closeable {
    private static final Map<String, String> METADATA = Map.of("format", "pt");

    private final Path directory;
    private final FileShards plan;
    private final PartialFile.Disk disk;
    private final Map<String, Integer> shardOf = new HashMap<>();
    private final List<SafetensorsWriter> writers = new ArrayList<>();
    private boolean finished;

    private ShardedSafetensorsWriter(Path directory, FileShards plan, PartialFile.Disk disk) {
        this.directory = directory;
        this.plan = plan;
        this.disk = disk;
        for (int i = 0; i < plan.shards().size(); i++) {
            for (TensorInfo tensor : plan.shards().get(i).tensors()) {
                shardOf.put(tensor.name(), i);
            }
        }
    }

    /**
     * Plans the shards as {@link FileShards#of} does and starts writing the first one.
     *
     * @param directory where to write; created where it is missing
     * @param tensors what will be written, in this order
     * @param maxShardBytes most bytes of tensor data in a file
     * @throws IllegalArgumentException if two tensors share a name, one is called {@code __metadata__}, or
     *     {@code maxShardBytes} is not positive
     * @throws WeightsException if the directory already holds weights, which readers could mistake for the new ones, or
     *     the disk has too little space for all shards
     * @throws IOException if the directory or a file cannot be written
     */
    public static ShardedSafetensorsWriter create(Path directory, List<TensorInfo> tensors, long maxShardBytes)
            throws IOException {
        return create(directory, tensors, maxShardBytes, PartialFile.Disk.REAL);
    }

    static ShardedSafetensorsWriter create(
            Path directory, List<TensorInfo> tensors, long maxShardBytes, PartialFile.Disk disk) throws IOException {
        Set<String> names = new HashSet<>(Set.of(SafetensorsHeader.METADATA_KEY));
        for (TensorInfo tensor : tensors) {
            if (!names.add(tensor.name())) {
                throw new IllegalArgumentException("Tensor name " + tensor.name() + " is reserved or declared twice");
            }
        }
        FileShards plan = FileShards.of(tensors, maxShardBytes);
        Files.createDirectories(directory);
        refuseExisting(directory, plan);
        PartialFile.checkSpace(directory, plan.totalBytes(), disk);
        ShardedSafetensorsWriter writer = new ShardedSafetensorsWriter(directory, plan, disk);
        writer.startNextShard();
        return writer;
    }

    private static void refuseExisting(Path directory, FileShards plan) throws WeightsException {
        List<String> names = new ArrayList<>(WeightsDirectory.ENTRY_POINTS);
        plan.shards().forEach(shard -> names.add(shard.fileName()));
        for (String name : names) {
            if (Files.exists(directory.resolve(name))) {
                throw WeightsException.in(
                        directory, "expected a directory without weights to write into, found " + name);
            }
        }
    }

    /** Returns which tensors go into which file. */
    public FileShards plan() {
        return plan;
    }

    /**
     * Appends some of a tensor's data; see {@link SafetensorsWriter#append}.
     *
     * @param name the tensor the bytes belong to
     * @param raw little-endian row-major bytes; consumed up to its limit
     * @throws IllegalStateException if it is another tensor's turn or the tensor gets more bytes than declared
     * @throws IOException if writing fails; the writer can then only be closed
     */
    public void append(String name, ByteBuffer raw) throws IOException {
        Integer shard = shardOf.get(name);
        if (shard == null || finished) {
            throw new IllegalStateException(
                    finished ? "The checkpoint is finished or closed" : "Tensor " + name + " was not declared");
        }
        while (writers.size() - 1 < shard) {
            writers.get(writers.size() - 1).seal();
            startNextShard();
        }
        writers.get(shard).append(name, raw);
    }

    /**
     * Checks that every tensor is complete, forces all files to disk and gives them their final names, the index last.
     *
     * @throws IllegalStateException if a declared tensor is incomplete
     * @throws IOException if writing fails; without an index the directory is then not taken for a checkpoint
     */
    public void finish() throws IOException {
        if (finished) {
            throw new IllegalStateException("The checkpoint is finished or closed");
        }
        writers.get(writers.size() - 1).seal();
        while (writers.size() < plan.shards().size()) {
            startNextShard();
            writers.get(writers.size() - 1).seal();
        }
        for (SafetensorsWriter writer : writers) {
            writer.publish();
        }
        if (plan.shards().size() > 1) {
            writeIndex();
        }
        finished = true;
    }

    private void writeIndex() throws IOException {
        byte[] json = ShardIndex.format(plan.totalBytes(), plan.weightMap());
        Path path = directory.resolve(WeightsDirectory.SAFETENSORS_INDEX);
        try (PartialFile file = PartialFile.create(path, json.length, disk)) {
            file.write(ByteBuffer.wrap(json));
            file.seal();
            file.publish();
        }
    }

    private void startNextShard() throws IOException {
        FileShards.Shard shard = plan.shards().get(writers.size());
        writers.add(SafetensorsWriter.create(directory.resolve(shard.fileName()), shard.tensors(), METADATA, disk));
    }

    /** Releases the files; without {@link #finish} before, deletes those that have no final name yet. */
    @Override
    public void close() throws IOException {
        finished = true;
        IOException failure = null;
        for (SafetensorsWriter writer : writers) {
            try {
                writer.close();
            } catch (IOException e) {
                failure = e;
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
