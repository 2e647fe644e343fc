package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsFileTest {
    private static final String TWO = "{'__metadata__':{'format':'pt'},"
            + "'b':{'dtype':'U8','shape':[4],'data_offsets':[8,12]},"
            + "'a':{'dtype':'F16','shape':[2,2],'data_offsets':[0,8]}}";

    @TempDir
    private Path folder;

    private Path file(String header, int dataBytes) throws Exception {
        return HandMade.safetensors(folder.resolve("x.safetensors"), header.replace('\'', '"'), dataBytes);
    }

    private void assertRefused(String header, int dataBytes, String... words) throws Exception {
        Path path = file(header, dataBytes);
        WeightsException e = assertThrows(WeightsException.class, () -> SafetensorsFile.open(path));
        assertTrue(e.getMessage().contains("x.safetensors"), e.getMessage());
        for (String word : words) {
            assertTrue(e.getMessage().contains(word), e.getMessage());
        }
    }

    @Test
    void aGoodFileTellsItsTensorsInTheHeadersOrderAndItsMetadata() throws Exception {
        try (SafetensorsFile file = SafetensorsFile.open(file(TWO, 12))) {
            assertEquals(List.of("b", "a"), List.copyOf(file.tensors().keySet()));
            assertEquals(TensorInfo.of("a", WeightDtype.F16, 2, 2), file.info("a"));
            assertEquals(Map.of("format", "pt"), file.metadata());
            ByteBuffer raw = ByteBuffer.allocate(3);
            file.readRaw("b", 1, raw);
            assertArrayEquals(new byte[] {9, 10, 11}, raw.array());
            assertEquals(Floats.halfToFloat((short) 0x0504), file.readAll("a")[2]);
        }
    }

    @Test
    void readsThatMakeNoSenseAreRefused() throws Exception {
        SafetensorsFile file = SafetensorsFile.open(file(TWO, 12));
        WeightsException integers = assertThrows(WeightsException.class, () -> file.readAll("b"));
        assertTrue(integers.getMessage().contains("found U8"), integers.getMessage());
        WeightsException unknown = assertThrows(WeightsException.class, () -> file.readAll("c"));
        assertTrue(unknown.getMessage().contains("no tensor 'c'"), unknown.getMessage());
        assertThrows(IndexOutOfBoundsException.class, () -> file.read("a", 3, FloatBuffer.allocate(2)));
        assertThrows(IndexOutOfBoundsException.class, () -> file.read("a", -1, FloatBuffer.allocate(1)));
        assertThrows(IllegalArgumentException.class, () -> file.readRaw("a", 0, ByteBuffer.allocate(3)));
        file.close();
        assertThrows(IllegalStateException.class, () -> file.readAll("a"));
    }

    @Test
    void aFileTruncatedAnywhereIsRefused() throws Exception {
        byte[] whole = Files.readAllBytes(file(TWO, 12));
        for (int length = 0; length < whole.length; length++) {
            Path path = Files.write(folder.resolve("short.safetensors"), Arrays.copyOf(whole, length));
            assertThrows(WeightsException.class, () -> SafetensorsFile.open(path), "length " + length);
        }
    }

    @Test
    void bytesAfterTheLastTensorAreRefused() throws Exception {
        assertRefused(TWO, 13, "expected 12 bytes", "found 13");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,4]}} | expected 8 bytes",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[4,8]}} | hole",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,4]},'b':{'dtype':'F32','shape':[1],'data_offsets':[2,6]}}"
                        + " | overlap",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[-4,0]}} | data_offsets",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[9223372036854775804,-9223372036854775808]}} | offsets",
                "{'a':{'dtype':'F32','shape':[1],'data_offsets':[0,99999999999999999999]}} | not valid",
                "{'a':{'dtype':'F32','shape':[4],'data_offsets':[0,16]}} | truncated",
                "{'a':{'dtype':'F32','shape':[4294967296,4294967296],'data_offsets':[0,0]}} | more than 2^63-1",
                "{'a':{'dtype':'F32','shape':[-1],'data_offsets':[0,8]}} | negative",
                "{'a':{'dtype':'F32','shape':[1.0],'data_offsets':[0,4]}} | not valid",
                "{'a':{'dtype':'F8_E4M3','shape':[8],'data_offsets':[0,8]}} | F8_E4M3",
                "{'a':{'dtype':'F32','shape':[2]}} | two data_offsets",
                "{'a':{'dtype':'F32','shape':[2],'data_offsets':[0,8],'extra':1}} | 'extra'",
                "{'a':{'dtype':'F64','shape':[],'data_offsets':[0,8]},'a':{'dtype':'F64','shape':[],'data_offsets':[0,8]}}"
                        + " | Duplicate",
                "{'a':{'dtype':'F64','dtype':'F64','shape':[],'data_offsets':[0,8]}} | Duplicate",
                "{'':{'dtype':'F64','shape':[],'data_offsets':[0,8]}} | needs a name",
                "{'__metadata__':{'a':1}} | expected text for 'a'",
                "{'__metadata__':[]} | not valid",
                "{'a':5} | not valid",
                "{} x | not valid",
                "[] | begin with",
            })
    void aHeaderThatBreaksARuleIsRefused(String header, String word) throws Exception {
        assertRefused(header, 8, word);
    }

    @Test
    void anAbsurdHeaderLengthIsRefusedWithoutAllocatingIt() throws Exception {
        for (long length : new long[] {Long.MAX_VALUE, -1, 1L << 40, 0, 100_000_001}) {
            Path path = folder.resolve("absurd.safetensors");
            Files.write(
                    path,
                    ByteBuffer.allocate(16).putLong(Long.reverseBytes(length)).array());
            WeightsException e = assertThrows(WeightsException.class, () -> SafetensorsFile.open(path));
            assertTrue(e.getMessage().contains(Long.toUnsignedString(length)), e.getMessage());
        }
    }

    @Test
    void scalarsAndEmptyTensorsCanBeRead() throws Exception {
        Path path = file(
                "{'e':{'dtype':'F32','shape':[0,9223372036854775807,9],'data_offsets':[0,0]},"
                        + "'s':{'dtype':'BF16','shape':[],'data_offsets':[0,2]}}   ",
                2);
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(0, file.readAll("e").length);
            assertArrayEquals(new float[] {Floats.bf16ToFloat((short) 0x0100)}, file.readAll("s"));
        }
    }
}
