package org.shardloom.worker.generate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.TinyModel;
import org.shardloom.worker.zero.ZeroEngine;

/** What a model answers while it trains, sharded, is what it answers when it has been loaded: with every method's additions. */
@Timeout(60)
class ShardedModelTest {
    private static final int NEW_TOKENS = 12;

    @TempDir
    Path directory;

    /** As a run leaves it. */
    private Path adapter(Path model, String method) throws Exception {
        Path base = model.resolve("safetensors-fp32");
        if (method.equals("p-tuning")) {
            int hidden = ModelConfigReader.read(base).hidden();
            float[] tokens = new float[5 * hidden];
            Random random = new Random(3);
            for (int i = 0; i < tokens.length; i++) {
                tokens[i] = (float) random.nextGaussian();
            }
            ArraySource embeddings = new ArraySource("prompt_embeddings", tokens, 5, hidden);
            AdapterFiles.write(directory, new TuningMethod.PTuning(5), base, embeddings);
            return directory;
        }
        try (TensorSource trained = WeightsDirectory.openAdapter(model.resolve(method.replace("qlora", "lora")))) {
            TuningMethod kind = method.startsWith("ptuning")
                    ? new TuningMethod.PTuningV2(8, method.endsWith("projection"))
                    : new TuningMethod.Lora(8, 32, 0, List.of("all"))
                            .over(method.startsWith("qlora") ? Quantization.NF4_DOUBLE : Quantization.NONE);
            AdapterFiles.write(directory, kind, base, trained);
        }
        return directory;
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-chatglm3,lora-all,3",
        "tiny-chatglm3,qlora-all,2",
        "tiny-chatglm3,ptuning-embedding,2",
        "tiny-chatglm2,ptuning-projection,3",
        "tiny-chatglm1,ptuning-embedding,3",
        "tiny-chatglm3,p-tuning,3"
    })
    void answersAreThoseOfTheLoadedModel(String name, String method, int stage) throws Exception {
        Path model = SharedFixtures.require(name);
        Path base = model.resolve("safetensors-fp32");
        Path adapter = adapter(model, method);
        List<int[]> prompts = List.of(
                MergeProbe.tokens(ModelConfigReader.read(base), 9), MergeProbe.tokens(ModelConfigReader.read(base), 6));
        List<String> expected = answers(ModelSource.of(adapter, base), prompts);
        assertNotEquals(answers(ModelSource.of(base, null), prompts), expected, "the adapter changes them");
        TuningMethod tuning = AdapterFiles.read(adapter).method();
        ModelConfigSource source = new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.of(adapter));
        List<String> found = Ranks.run(2, (rank, group) -> {
            EngineConfig config = new EngineConfig(DType.F32, stage, true, TinyModel.ADAMW, 1.0, 64);
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine =
                            new ZeroEngine(Tuning.of(ModelConfigReader.read(base), tuning), config, device, group);
                    Memory memory = device.memory(Purpose.ACTIVATIONS)) {
                StartWeights.fillAll(source, 1, engine);
                engine.publishMaster();
                ShardedModel sharded =
                        new ShardedModel(engine, engine.generation().prefix(memory), 64);
                String answer = answer(sharded, prompts.subList(rank, rank + 1)).get(0);
                sharded.serve();
                return answer;
            }
        });
        assertEquals(expected, found);
    }

    private static List<String> answers(ModelSource source, List<int[]> prompts) throws Exception {
        try (source;
                LoadedModel loaded = LoadedModel.open(source, 1, 64)) {
            return answer(loaded, prompts);
        }
    }

    private static List<String> answer(TokenModel model, List<int[]> prompts) {
        return new Generator(model, model.config().vocabulary(), Set.of(), SamplingOptions.GREEDY)
                .generate(prompts, NEW_TOKENS).stream()
                        .map(continuation -> Arrays.toString(continuation.tokens()))
                        .toList();
    }
}
