package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.EngineConfig;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.TinyModel;
import org.shardloom.worker.zero.ZeroEngine;

/** A projected prefix, whose second map is cut over the layers' units, is one tensor again. */
@Timeout(60)
class CheckpointTensorsTest {
    private static final String MAP = "transformer.prefix_encoder.trans.2.weight";

    @TempDir
    Path directory;

    @Test
    void rowsOfSeveralUnitsAreOneTensor() throws Exception {
        Path fixture = SharedFixtures.require("tiny-chatglm2");
        Path base = fixture.resolve("safetensors-fp32");
        Path prefix = fixture.resolve("ptuning-projection");
        TunedModel model = Tuning.of(ModelConfigReader.read(base), new TuningMethod.PTuningV2(8, true));
        ShardFiles.Written[] written = new ShardFiles.Written[2];
        Ranks.run(2, (rank, group) -> {
            EngineConfig config = new EngineConfig(DType.BF16, 3, true, TinyModel.ADAMW, 1.0, 128);
            try (CpuDevice device = new CpuDevice(1);
                    ZeroEngine engine = new ZeroEngine(model, config, device, group)) {
                ModelConfigSource start =
                        new ModelConfigSource(base, ModelConfigSource.Init.PRETRAINED, Optional.of(prefix));
                StartWeights.fillAll(start, 1, engine);
                written[rank] = ShardFiles.write(directory, engine.plan(), rank, engine.optimizer());
            }
            return null;
        });
        TrainingState state = new TrainingState(1, 1, 0, 0, new GuardState(30, 1.5, 0.25, -1, -2, 3, 1));
        Saved.manifest(directory, ZeroEngine.planOf(model.trained(), 2), state, "{}", List.of(written));
        try (Checkpoint checkpoint = Checkpoint.open(directory, false);
                TensorSource expected = WeightsDirectory.openAdapter(prefix);
                TensorSource found = new CheckpointTensors(checkpoint, model.trained())) {
            assertEquals(
                    Set.copyOf(expected.tensors().keySet()), found.tensors().keySet());
            for (TensorInfo tensor : expected.tensors().values()) {
                assertEquals(tensor.shape(), found.info(tensor.name()).shape());
                assertArrayEquals(expected.readAll(tensor.name()), found.readAll(tensor.name()));
            }
            partsBeginAnywhere(expected.readAll(MAP), found);
        }
    }

    private static void partsBeginAnywhere(float[] whole, TensorSource found) throws IOException {
        Random random = new Random(1);
        for (int i = 0; i < 50; i++) {
            int from = random.nextInt(whole.length);
            int count = random.nextInt(whole.length - from);
            FloatBuffer part = FloatBuffer.allocate(count + 3).position(3);
            found.read(MAP, from, part);
            assertEquals(0, part.remaining());
            assertArrayEquals(
                    Arrays.copyOfRange(whole, from, from + count), Arrays.copyOfRange(part.array(), 3, count + 3));
        }
        assertThrows(IndexOutOfBoundsException.class, () -> found.read(MAP, whole.length - 1, FloatBuffer.allocate(2)));
    }
}
