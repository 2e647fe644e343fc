package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderConfig.Names;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.SafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.WeightDtype;

/** Decoders of random numbers. */
final class SmallModels {
    private SmallModels() {}

    /** Qwen2's shape: split projections with biases, tied embeddings, half-split rotation. */
    static DecoderConfig qwen2(int layers) {
        return new DecoderConfig(
                Names.LLAMA, 96, 48, layers, new AttentionShape(4, 2, 12, 12, false), 64, 1e-6f, 1e6, 64, true, true);
    }

    /** ChatGLM's shape with one layer or more, untied. */
    static DecoderConfig chatglm(int layers) {
        return new DecoderConfig(
                Names.CHATGLM, 96, 48, layers, new AttentionShape(4, 2, 12, 6, true), 64, 1e-5f, 1e4, 64, true, false);
    }

    static ZeroEngine random(DecoderConfig config, CpuDevice device, Collectives group, long seed) {
        ZeroEngine engine =
                new ZeroEngine(config, new EngineConfig(DType.F32, 3, false, TinyModel.ADAMW, 1.0, 64), device, group);
        MasterWeights.randomize(
                engine.units(), engine.plan(), group.rank(), seed, config.layers(), engine.optimizer()::master);
        engine.publishMaster();
        return engine;
    }

    /** Three sequences of random ids, of which the second half is to be predicted. */
    static PackedBatch batch(DecoderConfig config, long seed) {
        Random random = new Random(seed);
        List<int[]> ids = random.ints(3, 5, 15)
                .mapToObj(n -> random.ints(n, 0, config.vocabulary()).toArray())
                .toList();
        List<int[]> labels = ids.stream()
                .map(s -> {
                    int[] l = s.clone();
                    java.util.Arrays.fill(l, 0, l.length / 2, PackedBatch.IGNORED);
                    return l;
                })
                .toList();
        return PackedBatch.of(ids, labels);
    }

    /** A file of random weights, so large that the scores of attention, and what an adapter adds, count. */
    static void write(Path file, List<UnitSpec> units) throws IOException {
        Random random = new Random(5);
        Map<TensorInfo, ByteBuffer> tensors = new LinkedHashMap<>();
        for (UnitSpec unit : units) {
            for (ParameterSpec p : unit.parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    TensorInfo info = new TensorInfo(s.name(), WeightDtype.F32, p.shapeOf(s));
                    double mean = p.kind() == ParameterSpec.Kind.NORM ? 1 : 0;
                    double deviation = p.kind().isVector() ? 0.1 : 1 / Math.sqrt(p.columns());
                    ByteBuffer bytes =
                            ByteBuffer.allocate((int) info.byteCount()).order(ByteOrder.LITTLE_ENDIAN);
                    while (bytes.hasRemaining()) {
                        bytes.putFloat((float) (mean + deviation * random.nextGaussian()));
                    }
                    tensors.put(info, bytes.flip());
                }
            }
        }
        try (SafetensorsWriter writer = SafetensorsWriter.create(file, List.copyOf(tensors.keySet()), Map.of())) {
            for (TensorInfo info : tensors.keySet()) {
                writer.append(info.name(), tensors.get(info));
            }
            writer.finish();
        }
    }
}
