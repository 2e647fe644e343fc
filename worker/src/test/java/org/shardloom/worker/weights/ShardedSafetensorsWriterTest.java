package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ShardedSafetensorsWriterTest {
    @TempDir
    private Path folder;

    private static List<TensorInfo> sizes(long... bytes) {
        return Stream.iterate(0, i -> i < bytes.length, i -> i + 1)
                .map(i -> TensorInfo.of("t" + i, WeightDtype.U8, bytes[i]))
                .toList();
    }

    private static List<List<Long>> groups(FileShards plan) {
        return plan.shards().stream()
                .map(shard ->
                        shard.tensors().stream().map(TensorInfo::byteCount).toList())
                .toList();
    }

    private List<String> files() throws IOException {
        try (Stream<Path> list = Files.list(folder)) {
            return list.map(path -> path.getFileName().toString()).sorted().toList();
        }
    }

    private void write(List<TensorInfo> tensors, long maxShardBytes) throws IOException {
        try (ShardedSafetensorsWriter writer = ShardedSafetensorsWriter.create(folder, tensors, maxShardBytes)) {
            for (TensorInfo info : tensors) {
                writer.append(info.name(), ByteBuffer.wrap(content(info)));
            }
            writer.finish();
        }
    }

    private static byte[] content(TensorInfo info) {
        byte[] bytes = new byte[(int) info.byteCount()];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) (info.name().hashCode() + 31 * i);
        }
        return bytes;
    }

    @Test
    void shardsAreFilledInOrderAndALargeTensorGetsItsOwn() {
        FileShards plan = FileShards.of(sizes(4, 5, 3, 12, 1), 10);
        assertEquals(List.of(List.of(4L, 5L), List.of(3L), List.of(12L), List.of(1L)), groups(plan));
        assertEquals(25, plan.totalBytes());
        assertEquals("model-00003-of-00004.safetensors", plan.shards().get(2).fileName());
        assertEquals(
                "model.safetensors",
                FileShards.of(sizes(4, 6), 10).shards().get(0).fileName());
        assertEquals(List.of(List.of()), groups(FileShards.of(List.of(), 10)));
        assertEquals(
                List.of(List.of(Long.MAX_VALUE / 2), List.of(Long.MAX_VALUE / 2)),
                groups(FileShards.of(sizes(Long.MAX_VALUE / 2, Long.MAX_VALUE / 2), 1)));
        assertThrows(IllegalArgumentException.class, () -> FileShards.of(sizes(1), 0));
    }

    @Test
    void aShardedCheckpointReadsBackThroughItsIndex() throws Exception {
        List<TensorInfo> tensors = sizes(4, 5, 3, 12, 0, 1);
        write(tensors, 10);
        assertEquals(
                List.of(
                        "model-00001-of-00004.safetensors",
                        "model-00002-of-00004.safetensors",
                        "model-00003-of-00004.safetensors",
                        "model-00004-of-00004.safetensors",
                        "model.safetensors.index.json"),
                files());
        JsonNode index = new ObjectMapper()
                .readTree(folder.resolve("model.safetensors.index.json").toFile());
        assertEquals(25, index.at("/metadata/total_size").longValue());
        assertEquals(
                "model-00001-of-00004.safetensors", index.at("/weight_map/t1").textValue());
        try (SafetensorsFile shard = SafetensorsFile.open(folder.resolve("model-00002-of-00004.safetensors"))) {
            assertEquals(Map.of("format", "pt"), shard.metadata());
        }
        try (TensorSource source = WeightsDirectory.open(folder)) {
            assertEquals(tensors, List.copyOf(source.tensors().values()));
            for (TensorInfo info : tensors) {
                ByteBuffer bytes = ByteBuffer.allocate((int) info.byteCount());
                source.readRaw(info.name(), 0, bytes);
                assertArrayEquals(content(info), bytes.array());
            }
        }
    }

    @Test
    void aCheckpointThatFitsOneShardHasNoIndex() throws Exception {
        write(sizes(4, 5), 10);
        assertEquals(List.of("model.safetensors"), files());
        IOException e = assertThrows(IOException.class, () -> write(sizes(4), 10));
        assertTrue(e.getMessage().contains("found model.safetensors"), e.getMessage());
    }

    @Test
    void anUnfinishedCheckpointLeavesNothingBehind() throws Exception {
        List<TensorInfo> tensors = sizes(4, 5, 3);
        try (ShardedSafetensorsWriter writer = ShardedSafetensorsWriter.create(folder, tensors, 5)) {
            writer.append("t0", ByteBuffer.allocate(4));
            assertThrows(IllegalStateException.class, () -> writer.append("t2", ByteBuffer.allocate(3)));
            writer.append("t1", ByteBuffer.allocate(5));
            assertThrows(IllegalStateException.class, () -> writer.append("t0", ByteBuffer.allocate(1)));
            assertThrows(IllegalStateException.class, () -> writer.append("t9", ByteBuffer.allocate(1)));
            assertThrows(IllegalStateException.class, writer::finish);
            assertEquals(3, writer.plan().shards().size());
        }
        assertEquals(List.of(), files());
    }
}
