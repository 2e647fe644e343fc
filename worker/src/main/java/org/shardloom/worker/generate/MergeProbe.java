package org.shardloom.worker.generate;

import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.LayerCall;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.model.UnitView;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.ZeroEngine;

/** Compares the logits of two models of one shape, in fp32, with the weights of one layer in memory at a time. */
public final class MergeProbe {
    private static final int TOKENS = 16;

    private MergeProbe() {}

    /** The largest difference between logits of a few tokens. NaN where either has logits that are not numbers. */
    public static float difference(DecoderConfig config, TensorSource one, TensorSource other, int threads)
            throws IOException {
        float[] first = logits(config, one, threads);
        float[] second = logits(config, other, threads);
        float most = 0;
        for (int i = 0; i < first.length; i++) {
            float difference = Math.abs(first[i] - second[i]);
            if (Float.isNaN(difference)) {
                return Float.NaN;
            }
            most = Math.max(most, difference);
        }
        return most;
    }

    /** Any tokens, the last with what a prompt of ChatGLM-6B ends with. */
    static int[] tokens(DecoderConfig config, int count) {
        int[] probe = IntStream.range(0, count)
                .map(i -> (i * 7919 + 13) % config.vocabulary())
                .toArray();
        if (config.markers() != null) {
            probe[probe.length - 2] = config.markers().gMask();
            probe[probe.length - 1] = config.markers().start();
        }
        return probe;
    }

    private static float[] logits(DecoderConfig config, TensorSource weights, int threads) throws IOException {
        TunedModel model = TunedModel.full(config);
        PackedBatch batch = PackedBatch.following(List.of(tokens(config, TOKENS)), new int[1]);
        try (CpuDevice device = new CpuDevice(threads);
                Decoder decoder = new Decoder(model, device, TOKENS);
                Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            BatchOnDevice inputs = decoder.inputs(scope, batch, false);
            Tensor x = scope.allocate(DType.F32, TOKENS, config.hidden());
            Tensor y = scope.allocate(DType.F32, TOKENS, config.hidden());
            try (Memory memory = device.memory(Purpose.PARAMETERS)) {
                decoder.embed(block(model, 0, weights, device, memory), inputs, x);
            }
            for (int layer = 0; layer < config.layers(); layer++) {
                try (Memory memory = device.memory(Purpose.PARAMETERS);
                        Memory kept = device.memory(Purpose.ACTIVATIONS)) {
                    BlockView p = block(model, layer + 1, weights, device, memory);
                    decoder.layer(p, new LayerCall(layer, inputs, null, 0), x, kept, y);
                }
                Tensor swap = x;
                x = y;
                y = swap;
            }
            try (Memory memory = device.memory(Purpose.PARAMETERS)) {
                // The head's block, and the embedding's where the head is tied to it.
                BlockView embedding = block(model, 0, weights, device, memory);
                BlockView head = block(model, config.layers() + 1, weights, device, memory);
                IndexTensor rows =
                        Inputs.indices(device, scope, IntStream.range(0, TOKENS).toArray());
                return Inputs.toFloats(device, decoder.logits(head, embedding, x, rows, scope));
            }
        }
    }

    private static BlockView block(TunedModel model, int block, TensorSource weights, CpuDevice device, Memory memory)
            throws IOException {
        List<UnitSpec> units =
                Arrays.stream(model.unitsOf(block)).mapToObj(model.units()::get).toList();
        List<Tensor> flat = units.stream()
                .map(u -> memory.allocate(DType.F32, u.elements()))
                .toList();
        flat.forEach(device.ops()::zero);
        MasterWeights.load(units, ZeroEngine.planOf(units, 1), 0, weights, flat::get);
        return new BlockView(IntStream.range(0, units.size())
                .mapToObj(u -> new UnitView(units.get(u), flat.get(u)))
                .toList());
    }
}
