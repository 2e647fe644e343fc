package org.shardloom.worker.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The tensors of an index, each read from its own shard. Order is the index's. */
final class ShardedSource implements TensorSource {
    private final Path index;
    private final Map<String, TensorSource> shards;
    private final Map<String, TensorSource> owners;
    private final Map<String, TensorInfo> infos;

    private ShardedSource(Path index, Map<String, TensorSource> shards, Map<String, TensorSource> owners) {
        this.index = index;
        this.shards = shards;
        this.owners = owners;
        Map<String, TensorInfo> described = new LinkedHashMap<>();
        owners.forEach((name, owner) -> described.put(name, owner.tensors().get(name)));
        this.infos = Collections.unmodifiableMap(described);
    }

    /** Opens one kind of shard. */
    interface Opener {
        TensorSource open(Path path) throws IOException;
    }

    static ShardedSource open(Path indexPath, String suffix, Opener opener) throws IOException {
        Map<String, String> weightMap = ShardIndex.read(indexPath, suffix).weightMap();
        Map<String, TensorSource> shards = new LinkedHashMap<>();
        Map<String, TensorSource> owners = new LinkedHashMap<>();
        try {
            for (Map.Entry<String, String> entry : weightMap.entrySet()) {
                String file = entry.getValue();
                TensorSource shard = shards.get(file);
                if (shard == null) {
                    shard = openShard(indexPath, file, opener);
                    shards.put(file, shard);
                }
                if (!shard.tensors().containsKey(entry.getKey())) {
                    throw WeightsException.in(
                            indexPath, entry.getKey(), "expected it in shard " + file + ", which does not hold it");
                }
                owners.put(entry.getKey(), shard);
            }
        } catch (IOException | RuntimeException e) {
            closeAll(shards, e);
            throw e;
        }
        return new ShardedSource(indexPath, shards, owners);
    }

    private static TensorSource openShard(Path indexPath, String file, Opener opener) throws IOException {
        Path path = indexPath.resolveSibling(file);
        if (!Files.isRegularFile(path)) {
            throw WeightsException.in(indexPath, "expected the shard " + file + " beside it, found no such file");
        }
        return opener.open(path);
    }

    private static void closeAll(Map<String, TensorSource> shards, Exception cause) {
        for (TensorSource shard : shards.values()) {
            try {
                shard.close();
            } catch (IOException e) {
                cause.addSuppressed(e);
            }
        }
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return infos;
    }

    @Override
    public void read(String name, long firstElement, FloatBuffer destination) throws IOException {
        owners.get(info(name).name()).read(name, firstElement, destination);
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) throws IOException {
        owners.get(info(name).name()).readRaw(name, firstElement, destination);
    }

    @Override
    public void close() throws IOException {
        IOException failed = new IOException("Could not close every shard of " + index);
        closeAll(shards, failed);
        if (failed.getSuppressed().length > 0) {
            throw failed;
        }
    }

    /** Returns the index's path. */
    @Override
    public String toString() {
        return index.toString();
    }
}
