package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class WeightsDirectoryTest {
    @TempDir
    private Path folder;

    /** A safetensors file with one byte tensor. */
    private void shard(String file, String tensor) throws Exception {
        String header = "{\"" + tensor + "\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
        HandMade.safetensors(folder.resolve(file), header, 1);
    }

    private void index(String weightMap) throws Exception {
        Files.writeString(
                folder.resolve("model.safetensors.index.json"),
                ("{'metadata':{'total_size':2},'weight_map':" + weightMap + "}").replace('\'', '"'));
    }

    private String refusal() {
        WeightsException e = assertThrows(WeightsException.class, () -> WeightsDirectory.open(folder));
        assertTrue(e.getMessage().contains(folder.toString()), e.getMessage());
        return e.getMessage();
    }

    @Test
    void anEmptyDirectoryIsRefusedWithTheListOfWhatWasLookedFor() throws Exception {
        shard("weights.safetensors", "a");
        String message = refusal();
        for (String name : WeightsDirectory.ENTRY_POINTS) {
            assertTrue(message.contains(name), message);
        }
    }

    @Test
    void aSingleFileComesBeforeAnIndexAndSafetensorsBeforeTorch() throws Exception {
        byte[] pickle = new HandMade.Pickle()
                .op('}')
                .text("torch")
                .tensor("ByteStorage", "0", 1, 0, new long[] {1}, new long[] {1})
                .op('s')
                .stop();
        Map<String, byte[]> storages = Map.of("0", new byte[1]);
        HandMade.torch(folder.resolve("pytorch_model-1.bin"), pickle, storages, "little", false);
        Files.writeString(
                folder.resolve("pytorch_model.bin.index.json"), "{\"weight_map\":{\"torch\":\"pytorch_model-1.bin\"}}");
        assertOpens("[torch]", "pytorch_model.bin.index.json");
        HandMade.torch(folder.resolve("pytorch_model.bin"), pickle, storages, "little", false);
        assertOpens("[torch]", "pytorch_model.bin");
        shard("one.safetensors", "a");
        shard("two.safetensors", "b");
        index("{'b':'two.safetensors','a':'one.safetensors'}");
        assertOpens("[b, a]", "model.safetensors.index.json");
        shard("model.safetensors", "c");
        assertOpens("[c]", "model.safetensors");
    }

    private void assertOpens(String names, String file) throws Exception {
        try (TensorSource source = WeightsDirectory.open(folder)) {
            assertEquals(names, source.tensors().keySet().toString());
            assertEquals(folder.resolve(file).toString(), source.toString());
        }
    }

    @Test
    void aMissingShardIsRefusedByName() throws Exception {
        shard("one.safetensors", "a");
        index("{'a':'one.safetensors','b':'two.safetensors'}");
        assertTrue(refusal().contains("expected the shard two.safetensors"));
    }

    @Test
    void aTensorThatIsNotInItsShardIsRefusedByName() throws Exception {
        shard("one.safetensors", "a");
        index("{'a':'one.safetensors','b':'one.safetensors'}");
        assertTrue(refusal().contains("tensor 'b': expected it in shard one.safetensors"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "'../one.safetensors'",
                "'/etc/one.safetensors'",
                "'sub/one.safetensors'",
                "'..\\\\one.safetensors'",
                "'.hidden.safetensors'",
                "'C:one.safetensors'",
                "'one\\u0000.safetensors'",
                "'one.bin'",
                "''",
                "7",
                "null"
            })
    void aShardNameThatLeavesTheDirectoryOrIsNoShardIsRefused(String file) throws Exception {
        index("{'a':" + file + "}");
        assertTrue(refusal().contains("in the same directory"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"{}", "[]", "5", "{'a':'x.safetensors','a':'y.safetensors'}", "{'a'"})
    void anIndexThatIsNoProperMapIsRefused(String weightMap) throws Exception {
        index(weightMap);
        assertTrue(refusal().contains("index"));
    }

    @Test
    void everyTensorIsReadFromItsOwnShard() throws Exception {
        String header = "{\"NAME\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}";
        HandMade.safetensors(folder.resolve("one.safetensors"), header.replace("NAME", "a"), 4);
        HandMade.safetensors(folder.resolve("two.safetensors"), header.replace("NAME", "b"), 4);
        index("{'b':'two.safetensors','a':'one.safetensors'}");
        TensorSource source = WeightsDirectory.open(folder);
        assertArrayEquals(source.readAll("a"), source.readAll("b"));
        source.close();
        assertThrows(IllegalStateException.class, () -> source.readAll("a"));
    }

    /** peft writes adapters as safetensors, and wrote them as torch files before; the fixtures have both. */
    @ParameterizedTest
    @CsvSource({
        "tiny-chatglm2, lora-qkv",
        "tiny-chatglm2, lora-all",
        "tiny-chatglm3, lora-qkv",
        "tiny-chatglm3, lora-all"
    })
    void peftsTorchFileHasTheSameAdapterAsItsSafetensors(String model, String adapter) throws Exception {
        Path fixture = SharedFixtures.require(model).resolve(adapter);
        Files.copy(fixture.resolve("adapter_model.bin"), folder.resolve("adapter_model.bin"));
        try (TensorSource torch = WeightsDirectory.openAdapter(folder);
                TensorSource safetensors = WeightsDirectory.openAdapter(fixture)) {
            assertEquals(
                    new TreeSet<>(safetensors.tensors().keySet()),
                    new TreeSet<>(torch.tensors().keySet()));
            for (String name : torch.tensors().keySet()) {
                assertEquals(safetensors.info(name).shape(), torch.info(name).shape(), name);
                assertArrayEquals(safetensors.readAll(name), torch.readAll(name), name);
            }
            assertTrue(torch.tensors().size() >= 6, "two factors in each of three layers at least");
        }
    }
}
