package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Numbers against files that PyTorch 2.13 and safetensors wrote; their READMEs tell how. */
class FixtureNumbersTest {
    private static byte[] raw(TensorSource source, String name) throws Exception {
        ByteBuffer bytes = ByteBuffer.allocate((int) source.info(name).byteCount());
        source.readRaw(name, 0, bytes);
        assertFalse(bytes.hasRemaining());
        return bytes.array();
    }

    @ParameterizedTest
    @ValueSource(strings = {"views", "dtypes", "nested", "single"})
    void aTorchFileHoldsBitForBitWhatPyTorchSaysItHolds(String name) throws Exception {
        Path folder = SharedFixtures.require("torch-files");
        try (TorchFile found = TorchFile.open(folder.resolve(name + ".bin"));
                SafetensorsFile expected = SafetensorsFile.open(folder.resolve(name + ".expected.safetensors"))) {
            assertEquals(new TreeMap<>(expected.tensors()), new TreeMap<>(found.tensors()));
            for (String tensor : expected.tensors().keySet()) {
                assertArrayEquals(raw(expected, tensor), raw(found, tensor), tensor);
            }
        }
    }

    @Test
    void theLegacyFormatIsRefusedWithTheWayToConvertIt() {
        Path path = SharedFixtures.require("torch-files").resolve("legacy_format.bin");
        WeightsException e = assertThrows(WeightsException.class, () -> TorchFile.open(path));
        assertTrue(e.getMessage().contains("before PyTorch 1.6"), e.getMessage());
        assertTrue(e.getMessage().contains("torch.save(torch.load("), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-chatglm3, bin-fp16",
        "tiny-chatglm3, bin-fp16-single",
        "tiny-chatglm3, bin-fp32",
        "tiny-chatglm3, safetensors-fp16",
        "tiny-chatglm2, bin-fp16",
        "tiny-chatglm2, bin-fp32",
        "tiny-chatglm2, safetensors-fp16"
    })
    void everyFormatOfACheckpointYieldsTheSameNumbers(String model, String variant) throws Exception {
        Path root = SharedFixtures.require(model);
        try (TensorSource expected = WeightsDirectory.open(root.resolve("safetensors-fp32"));
                TensorSource found = WeightsDirectory.open(SharedFixtures.require(model + "/" + variant))) {
            assertEquals(
                    new TreeSet<>(expected.tensors().keySet()),
                    new TreeSet<>(found.tensors().keySet()));
            for (TensorInfo info : expected.tensors().values()) {
                assertEquals(info.shape(), found.info(info.name()).shape());
                assertArrayEquals(expected.readAll(info.name()), found.readAll(info.name()), info.name());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "torch-files/views.bin",
                "torch-files/views.expected.safetensors",
                "tiny-chatglm3/bin-fp16-single/pytorch_model.bin"
            })
    void anyIntervalEqualsTheSliceOfTheWholeAlsoAcrossMapWindows(String name) throws Exception {
        Path path = SharedFixtures.require(name);
        long seed = System.nanoTime();
        Random random = new Random(seed);
        for (int windowBytes : new int[] {1 << 30, 1000, 37}) {
            MappedFile file = MappedFile.open(path, windowBytes);
            try (TensorSource source = name.endsWith(".bin") ? TorchFile.open(file) : SafetensorsFile.open(file)) {
                for (Map.Entry<String, TensorInfo> entry : source.tensors().entrySet()) {
                    checkIntervals(source, entry.getValue(), random, "seed " + seed + ", window " + windowBytes);
                }
            }
        }
    }

    private static void checkIntervals(TensorSource source, TensorInfo info, Random random, String evidence)
            throws Exception {
        float[] whole = source.readAll(info.name());
        for (int i = 0; i < 20; i++) {
            int begin = random.nextInt(whole.length + 1);
            int end = begin + random.nextInt(whole.length - begin + 1);
            FloatBuffer part = FloatBuffer.allocate(end - begin + 2).position(1).limit(end - begin + 1);
            source.read(info.name(), begin, part);
            assertEquals(part.limit(), part.position());
            float[] expected = new float[end - begin + 2];
            System.arraycopy(whole, begin, expected, 1, end - begin);
            assertArrayEquals(expected, part.array(), evidence);
        }
        assertTrue(Arrays.equals(whole, source.readAll(info.name())), evidence);
    }
}
