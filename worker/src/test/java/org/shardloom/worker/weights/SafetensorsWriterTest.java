package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SafetensorsWriterTest {
    private static final Map<String, String> METADATA = Map.of("format", "pt", "quote\"", "\u540d\n");
    private static final List<TensorInfo> TENSORS = List.of(
            TensorInfo.of("w/\u540d \"x\"", WeightDtype.F32, 3, 5),
            TensorInfo.of("empty", WeightDtype.F16, 0, 4),
            TensorInfo.of("scalar", WeightDtype.U8),
            TensorInfo.of("ids", WeightDtype.I64, 7));

    @TempDir
    private Path folder;

    private Path target() {
        return folder.resolve("m.safetensors");
    }

    private List<String> files() throws IOException {
        try (Stream<Path> list = Files.list(folder)) {
            return list.map(path -> path.getFileName().toString()).sorted().toList();
        }
    }

    private static byte[] random(TensorInfo info) {
        byte[] bytes = new byte[(int) info.byteCount()];
        new Random(info.name().hashCode()).nextBytes(bytes);
        return bytes;
    }

    @Test
    void whatIsWrittenInPiecesIsReadBackUnchanged() throws Exception {
        try (SafetensorsWriter writer = SafetensorsWriter.create(target(), TENSORS, METADATA)) {
            for (TensorInfo info : TENSORS) {
                byte[] bytes = random(info);
                for (int at = 0; at < bytes.length; at += 7) {
                    writer.append(info.name(), ByteBuffer.wrap(bytes, at, Math.min(7, bytes.length - at)));
                }
            }
            assertTrue(Files.notExists(target()));
            writer.finish();
        }
        assertEquals(List.of("m.safetensors"), files());
        assertEquals(0, headerLength() % 8);
        try (SafetensorsFile file = SafetensorsFile.open(target())) {
            assertEquals(TENSORS, List.copyOf(file.tensors().values()));
            assertEquals(METADATA, file.metadata());
            for (TensorInfo info : TENSORS) {
                ByteBuffer bytes = ByteBuffer.allocate((int) info.byteCount());
                file.readRaw(info.name(), 0, bytes);
                assertArrayEquals(random(info), bytes.array());
            }
        }
    }

    private long headerLength() throws IOException {
        return Long.reverseBytes(ByteBuffer.wrap(Files.readAllBytes(target())).getLong());
    }

    @Test
    void aFileThatIsNotFinishedLeavesNothingBehindAndAnOlderOneAlone() throws Exception {
        Files.writeString(target(), "older");
        try (SafetensorsWriter writer = SafetensorsWriter.create(target(), TENSORS, METADATA)) {
            writer.append(TENSORS.get(0).name(), ByteBuffer.allocate(8));
            IllegalStateException e = assertThrows(IllegalStateException.class, writer::finish);
            assertTrue(e.getMessage().contains("52 more bytes of tensor w/"), e.getMessage());
        }
        assertEquals(List.of("m.safetensors"), files());
        assertEquals("older", Files.readString(target()));
    }

    @Test
    void dataOutOfTurnOrInExcessIsRefused() throws Exception {
        try (SafetensorsWriter writer = SafetensorsWriter.create(target(), TENSORS, Map.of())) {
            assertThrows(IllegalStateException.class, () -> writer.append("ids", ByteBuffer.allocate(8)));
            assertThrows(
                    IllegalStateException.class,
                    () -> writer.append(TENSORS.get(0).name(), ByteBuffer.allocate(61)));
            writer.append(TENSORS.get(0).name(), ByteBuffer.allocate(60));
            writer.append("scalar", ByteBuffer.allocate(1));
            writer.append("ids", ByteBuffer.allocate(56));
            assertThrows(IllegalStateException.class, () -> writer.append("ids", ByteBuffer.allocate(1)));
            assertThrows(
                    IllegalStateException.class,
                    () -> writer.append(TENSORS.get(0).name(), ByteBuffer.allocate(1)));
            writer.finish();
            assertThrows(IllegalStateException.class, () -> writer.append("ids", ByteBuffer.allocate(0)));
        }
        TensorInfo info = TENSORS.get(0);
        TensorInfo reserved = TensorInfo.of("__metadata__", WeightDtype.U8, 1);
        for (List<TensorInfo> wrong : List.of(List.of(info, info), List.of(reserved))) {
            assertThrows(IllegalArgumentException.class, () -> SafetensorsWriter.create(target(), wrong, Map.of()));
        }
    }

    private long wholeFileBytes() throws IOException {
        try (SafetensorsWriter writer = SafetensorsWriter.create(target(), TENSORS, METADATA)) {
            for (TensorInfo info : TENSORS) {
                writer.append(info.name(), ByteBuffer.wrap(random(info)));
            }
            writer.finish();
        }
        long size = Files.size(target());
        Files.delete(target());
        return size;
    }

    /** A disk that reports plenty of space, but takes only so many bytes. */
    private record SmallDisk(long capacity) implements PartialFile.Disk {
        @Override
        public long usableBytes(Path directory) {
            return 1 << 20;
        }

        @Override
        public void write(FileChannel channel, ByteBuffer bytes) throws IOException {
            if (channel.position() + bytes.remaining() > capacity) {
                throw new IOException("No space left on device");
            }
            channel.write(bytes);
        }
    }

    @Test
    void aDiskThatFillsUpOnTheWayEndsInAClearMessageAndNoFile() throws Exception {
        long allButOneByte = wholeFileBytes() - 1;
        try (SafetensorsWriter writer =
                SafetensorsWriter.create(target(), TENSORS, METADATA, new SmallDisk(allButOneByte))) {
            String name = TENSORS.get(0).name();
            WeightsException e = assertThrows(WeightsException.class, () -> {
                writer.append(name, ByteBuffer.allocate(60));
                writer.append("scalar", ByteBuffer.allocate(1));
                writer.append("ids", ByteBuffer.allocate(56));
            });
            assertTrue(e.getMessage().contains("56 bytes more are needed, 1048576 are free"), e.getMessage());
            assertThrows(IllegalStateException.class, writer::finish);
        }
        assertEquals(List.of(), files());
        assertThrows(
                WeightsException.class, () -> SafetensorsWriter.create(target(), TENSORS, METADATA, new SmallDisk(20)));
        assertEquals(List.of(), files());
    }

    @Test
    void aDiskThatIsTooSmallFromTheStartIsRefusedBeforeWriting() throws Exception {
        List<TensorInfo> large = List.of(TensorInfo.of("w", WeightDtype.F32, 1 << 20));
        WeightsException e = assertThrows(
                WeightsException.class, () -> SafetensorsWriter.create(target(), large, METADATA, new SmallDisk(0)));
        assertTrue(e.getMessage().contains("1048576 are free"), e.getMessage());
        assertEquals(List.of(), files());
    }
}
