package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.TinyModel;
import org.shardloom.worker.zero.ZeroEngine;

/** What is said of adapters and prefixes that training starts from, on every rank. */
@Timeout(60)
class StartProbeTest {
    private static ZeroEngine engine(
            Path base, TuningMethod method, Optional<Path> adapter, CpuDevice device, Collectives group)
            throws Exception {
        TunedModel model = Tuning.of(ModelConfigReader.read(base), method);
        EngineConfig config = new EngineConfig(DType.F32, 3, true, TinyModel.ADAMW, 1.0, 128);
        ZeroEngine engine = new ZeroEngine(model, config, device, group);
        StartWeights.fillAll(new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, adapter), 1, engine);
        engine.publishMaster();
        return engine;
    }

    @ParameterizedTest
    @CsvSource({"lora-all", "ptuning-embedding"})
    void theEffectIsThatOfTheModelWithItsAdapter(String fixture) throws Exception {
        Path base = SharedFixtures.tinyChatglm3();
        Path adapter = SharedFixtures.require("tiny-chatglm3").resolve(fixture);
        TuningMethod method = fixture.startsWith("lora")
                ? new TuningMethod.Lora(8, 32, 0, List.of("all"))
                : new TuningMethod.PTuningV2(8, false);
        List<Float> effects = Ranks.run(2, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = engine(base, method, Optional.of(adapter), device, group)) {
                String said = StartProbe.describe(engine, device, 128, DType.F32, adapter);
                float effect = StartProbe.effect(engine, device, 128);
                assertTrue(effect > 0.01, said);
                assertEquals(
                        String.format("the adapter acts: it changes logits of the base model by up to %.3g", effect),
                        said);
                return effect;
            }
        });
        assertEquals(effects.get(0), effects.get(1));
    }

    /** New factors of low rank change nothing yet. */
    @Test
    void whatChangesNothingIsRefusedOnEveryRank() throws Exception {
        Path base = SharedFixtures.tinyChatglm3();
        Ranks.run(2, (rank, group) -> {
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = engine(
                            base, new TuningMethod.Lora(8, 32, 0, List.of("all")), Optional.empty(), device, group)) {
                String message = assertThrows(
                                TuningException.class,
                                () -> StartProbe.describe(engine, device, 128, DType.F32, Path.of("some")))
                        .getMessage();
                assertTrue(message.startsWith("model.adapter: some changes nothing: the logits"), message);
            }
            return null;
        });
    }
}
