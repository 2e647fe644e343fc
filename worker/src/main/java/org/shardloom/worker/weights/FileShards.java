package org.shardloom.worker.weights;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Which tensors go into which file of a checkpoint.
 *
 * @param shards the files in order
 * @param totalBytes bytes of all tensors together, headers not counted
 */
public record FileShards(List<Shard> shards, long totalBytes) {
    /** Freezes the plan. */
    public FileShards {
        shards = List.copyOf(shards);
    }

    /**
     * One file.
     *
     * @param fileName {@code model.safetensors} or {@code model-0000K-of-0000N.safetensors}
     * @param tensors its tensors in the order they are written
     */
    public record Shard(String fileName, List<TensorInfo> tensors) {
        /** Freezes the shard. */
        public Shard {
            tensors = List.copyOf(tensors);
        }
    }

    /**
     * Fills shards in the given order: a tensor that does not fit the current shard begins the next one. A tensor larger
     * than {@code maxShardBytes} gets a shard of its own.
     *
     * <p>Example with a limit of 10: sizes 4, 5, 3, 12, 1 become [4, 5], [3], [12], [1].
     *
     * @param tensors what to write, in order; none gives one empty shard
     * @param maxShardBytes most bytes of tensor data in a file, at least 1; headers come on top
     * @throws IllegalArgumentException if {@code maxShardBytes} is not positive
     */
    public static FileShards of(List<TensorInfo> tensors, long maxShardBytes) {
        if (maxShardBytes < 1) {
            throw new IllegalArgumentException("maxShardBytes must be at least 1, found " + maxShardBytes);
        }
        List<List<TensorInfo>> groups = new ArrayList<>();
        groups.add(new ArrayList<>());
        long used = 0;
        long total = 0;
        for (TensorInfo tensor : tensors) {
            long bytes = tensor.byteCount();
            List<TensorInfo> group = groups.get(groups.size() - 1);
            if (!group.isEmpty() && bytes > maxShardBytes - used) {
                group = new ArrayList<>();
                groups.add(group);
                used = 0;
            }
            group.add(tensor);
            used += bytes;
            total = Math.addExact(total, bytes);
        }
        List<Shard> shards = new ArrayList<>();
        for (List<TensorInfo> group : groups) {
            shards.add(new Shard(fileName(shards.size() + 1, groups.size()), group));
        }
        return new FileShards(shards, total);
    }

    /** Returns the file name of every tensor, in writing order. */
    public Map<String, String> weightMap() {
        Map<String, String> map = new LinkedHashMap<>();
        for (Shard shard : shards) {
            for (TensorInfo tensor : shard.tensors()) {
                map.put(tensor.name(), shard.fileName());
            }
        }
        return map;
    }

    private static String fileName(int number, int count) {
        return count == 1
                ? WeightsDirectory.SAFETENSORS
                : String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", number, count);
    }
}
