package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.worker.weights.HandMade.Pickle;

class TorchFileTest {
    private static final byte[] SHORTS = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0};

    @TempDir
    private Path folder;

    private Path file(byte[] pickle) throws Exception {
        return HandMade.torch(folder.resolve("x.bin"), pickle, Map.of("0", SHORTS), "little", false);
    }

    private void assertRefused(byte[] pickle, String word) throws Exception {
        Path path = file(pickle);
        WeightsException e = assertTimeoutPreemptively(
                Duration.ofSeconds(20), () -> assertThrows(WeightsException.class, () -> TorchFile.open(path)));
        assertTrue(e.getMessage().contains(word), e.getMessage());
        assertTrue(e.getMessage().contains("x.bin"), e.getMessage());
    }

    private static byte[] oneTensor(long offset, long[] shape, long[] strides) {
        Pickle pickle = new Pickle().op('}').text("t");
        return pickle.tensor("HalfStorage", "0", 6, offset, shape, strides)
                .op('s')
                .stop();
    }

    private static float half(int bits) {
        return Floats.halfToFloat((short) bits);
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aTransposedViewReadsInItsOwnOrderFromZipAndZip64(boolean zip64) throws Exception {
        byte[] pickle = oneTensor(0, new long[] {3, 2}, new long[] {1, 3});
        Path path = HandMade.torch(folder.resolve("t.bin"), pickle, Map.of("0", SHORTS), null, zip64);
        try (TorchFile file = TorchFile.open(path)) {
            float[] expected = {half(1), half(4), half(2), half(5), half(3), half(6)};
            assertArrayEquals(expected, file.readAll("t"));
        }
    }

    @Test
    void bigEndianStoragesAreSwapped() throws Exception {
        byte[] pickle = oneTensor(1, new long[] {2}, new long[] {2});
        byte[] big = {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6};
        Path path = HandMade.torch(folder.resolve("b.bin"), pickle, Map.of("0", big), "big", false);
        try (TorchFile file = TorchFile.open(path)) {
            assertArrayEquals(new float[] {half(2), half(4)}, file.readAll("t"));
        }
    }

    @Test
    void aRepeatedDimensionReadsTheSameElementsAgain() throws Exception {
        try (TorchFile file = TorchFile.open(file(oneTensor(5, new long[] {3}, new long[] {0})))) {
            assertArrayEquals(new float[] {half(6), half(6), half(6)}, file.readAll("t"));
        }
    }

    @ParameterizedTest
    @CsvSource({"os, system", "posix, system", "builtins, eval", "torch, load", "torch._utils, _rebuild_tensor_v3"})
    void aPickleThatNamesAnythingElseIsRefusedByThatName(String module, String name) throws Exception {
        byte[] protocol2 = new Pickle()
                .global(module, name)
                .text("touch owned")
                .ops(0x85)
                .op('R')
                .stop();
        assertRefused(protocol2, "'" + module + "." + name + "'");
        byte[] protocol4 = new Pickle()
                .text(module)
                .text(name)
                .ops(0x93)
                .text("touch owned")
                .ops(0x85)
                .op('R')
                .stop();
        assertRefused(protocol4, "'" + module + "." + name + "'");
        String inst = "(S'touch owned'\ni" + module + "\n" + name + "\n.";
        assertRefused(inst.getBytes(StandardCharsets.UTF_8), "unsupported opcode");
        assertRefused(
                ("(i" + module + "\n" + name + "\n.").getBytes(StandardCharsets.UTF_8),
                "'" + module + "." + name + "'");
    }

    @Test
    void viewsOutsideTheirStorageAreRefused() throws Exception {
        String word = "within its storage of 6";
        assertRefused(oneTensor(1, new long[] {6}, new long[] {1}), word);
        assertRefused(oneTensor(-1, new long[] {2}, new long[] {1}), word);
        assertRefused(oneTensor(6, new long[] {}, new long[] {}), word);
        assertRefused(oneTensor(0, new long[] {2, 2}, new long[] {Long.MAX_VALUE, Long.MAX_VALUE}), word);
        assertRefused(oneTensor(Long.MAX_VALUE, new long[] {2}, new long[] {5}), word);
        assertRefused(oneTensor(0, new long[] {1L << 40}, new long[] {0}), "repeats its storage");
        assertRefused(oneTensor(0, new long[] {1L << 62, 4}, new long[] {0, 0}), "more than 2^63-1");
        assertRefused(oneTensor(0, new long[] {2}, new long[] {-1}), "at least 0");
        assertRefused(oneTensor(0, new long[] {2}, new long[] {}), "as many strides");
    }

    @Test
    void aStorageThatIsMissingOrOfAnotherSizeIsRefused() throws Exception {
        long[] one = {1};
        Pickle missing = new Pickle().op('}').text("t").tensor("HalfStorage", "1", 6, 0, one, one);
        assertRefused(missing.op('s').stop(), "expected an archive entry data/'1'");
        Pickle larger = new Pickle().op('}').text("t").tensor("HalfStorage", "0", 7, 0, one, one);
        assertRefused(larger.op('s').stop(), "expected a storage of 7 F16 elements, found 12 bytes");
        Pickle huge = new Pickle().op('}').text("t").tensor("HalfStorage", "0", Long.MAX_VALUE, 0, one, one);
        assertRefused(huge.op('s').stop(), "found 12 bytes");
    }

    @Test
    void picklesThatBlowUpAreRefusedInTime() throws Exception {
        Pickle doubling = new Pickle().op(']').ops('q', 0);
        for (int i = 0; i < 60; i++) {
            doubling.op(']').ops('q', i + 1).op('(').ops('h', i).ops('h', i).op('e');
        }
        assertRefused(doubling.stop(), "tensor names are too long");
        Pickle wide = new Pickle().op(']').op('(');
        for (int i = 0; i < 100_000; i++) {
            wide.op('N');
        }
        wide.op('e').ops('q', 0).op('0').op(']').op('(');
        for (int i = 0; i < 100; i++) {
            wide.ops('h', 0);
        }
        assertRefused(wide.op('e').stop(), "entries");
        Pickle containsItself = new Pickle().op(']').op('2').op('a');
        assertRefused(containsItself.stop(), "levels");
        assertRefused(repeat(")", 1_100_000), "more than");
        assertRefused(repeat("(", 1_100_000), "more than");
        assertRefused(new Pickle().ops('X', 0xff, 0xff, 0xff, 0x7f).stop(), "ends in the middle");
        assertRefused(new Pickle().ops(0x8d, 0, 0, 0, 0, 0, 0, 0, 0x80).stop(), "ends in the middle");
    }

    private static byte[] repeat(String opcode, int times) {
        return opcode.repeat(times).getBytes(StandardCharsets.US_ASCII);
    }

    @Test
    void picklesThatMakeNoSenseAreRefused() throws Exception {
        assertRefused(new Pickle().stop(), "stack is empty");
        assertRefused(new byte[0], "ends in the middle");
        assertRefused(new Pickle().op('N').stop(), "found None");
        assertRefused(new Pickle().ops('h', 3).stop(), "memo entry 3");
        assertRefused(new Pickle().op('t').stop(), "expected a mark");
        assertRefused(new Pickle().op('N').op(')').op('R').stop(), "expected a function");
        assertRefused(new Pickle().op(')').op('Q').stop(), "persistent id");
        assertRefused(new Pickle().op('}').op(']').op('N').op('s').stop(), "plain dict key");
        assertRefused(new Pickle().op(')').op('}').op('b').stop(), "only on an OrderedDict");
        assertRefused(new Pickle().ops(0x80, 9).stop(), "protocol");
        assertRefused(new Pickle().ops(0x82).stop(), "0x82");
    }

    @Test
    void twoTensorsOfOneNameAreRefused() throws Exception {
        long[] one = {1};
        Pickle pickle = new Pickle()
                .op('}')
                .text("a/b")
                .tensor("HalfStorage", "0", 6, 0, one, one)
                .op('s');
        pickle.text("a")
                .op('}')
                .text("b")
                .tensor("HalfStorage", "0", 6, 1, one, one)
                .op('s')
                .op('s');
        assertRefused(pickle.stop(), "distinct");
    }

    @Test
    void damageAnywhereInTheFileEndsInAnExceptionOrInReadableTensorsButNeverInACrash() throws Exception {
        byte[] whole = Files.readAllBytes(file(oneTensor(0, new long[] {3, 2}, new long[] {1, 3})));
        Path path = folder.resolve("damaged.bin");
        for (int length = 0; length < whole.length; length++) {
            Files.write(path, Arrays.copyOf(whole, length));
            assertThrows(WeightsException.class, () -> TorchFile.open(path), "length " + length);
        }
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int i = 0; i < 3000; i++) {
            byte[] damaged = whole.clone();
            damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
            Files.write(path, damaged);
            try (TorchFile file = TorchFile.open(path)) {
                for (String name : file.tensors().keySet()) {
                    file.readAll(name);
                }
            } catch (WeightsException e) {
                assertTrue(e.getMessage().contains("damaged.bin"), () -> "seed " + seed + ": " + e.getMessage());
            } catch (RuntimeException e) {
                throw new AssertionError("seed " + seed + ", round " + i, e);
            }
        }
    }

    @Test
    void damagedPicklesNeverCrashTheInterpreter() {
        byte[] whole = oneTensor(0, new long[] {3, 2}, new long[] {1, 3});
        long seed = System.nanoTime();
        Random random = new Random(seed);
        int refused = 0;
        for (int i = 0; i < 100_000; i++) {
            byte[] damaged = whole.clone();
            for (int n = random.nextInt(4); n >= 0; n--) {
                damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
            }
            try {
                TensorTree.flatten(PickleReader.read(damaged));
            } catch (MalformedPickleException e) {
                refused++;
            } catch (RuntimeException e) {
                throw new AssertionError("seed " + seed + ", round " + i, e);
            }
        }
        assertTrue(refused > 1000, "seed " + seed);
    }

    @Test
    void somethingThatIsNoZipArchiveIsRefusedWithAHint() throws Exception {
        Path path = Files.writeString(folder.resolve("p.bin"), "version https://git-lfs.github.com/spec/v1\n");
        WeightsException e = assertThrows(WeightsException.class, () -> TorchFile.open(path));
        assertTrue(e.getMessage().contains("Git LFS"), e.getMessage());
        assertEquals(path + ":", e.getMessage().substring(0, path.toString().length() + 1));
    }
}
