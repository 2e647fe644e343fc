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
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.LayerCall;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.model.UnitView;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * Holds a merged model against its base and the adapter beside it: logits of a few tokens, in fp32, with the weights of one layer in memory
 * at a time.
 */
public final class MergeProbe {
    private static final int TOKENS = 16;
    /** Of the adapter's effect: what a merged model may be off by where its weights are fp32, and where 16 bits round them. */
    private static final float FP32_SHARE = 0.01f, ROUNDED_SHARE = 0.5f;
    /** Of the largest logit: what sums in another order may be off by. */
    private static final float NOISE = 1e-5f;

    private final DecoderConfig config;
    private final int threads;
    private final float[] bare;
    private final float[] adapted;

    private MergeProbe(DecoderConfig config, int threads, float[] bare, float[] adapted) {
        this.config = config;
        this.threads = threads;
        this.bare = bare;
        this.adapted = adapted;
    }

    /**
     * What merging did.
     *
     * @param effect largest difference to a logit of the base model
     * @param deviation largest difference to a logit of the base model with the adapter beside it
     * @param allowed of the deviation, for rounding
     */
    public record Merged(float effect, float deviation, float allowed) {}

    /**
     * Computes the base model without and with the adapter.
     *
     * @param base as the adapter has seen it in training
     * @param adapter its factors, under peft's names
     */
    public static MergeProbe of(
            DecoderConfig config, TuningMethod.Lora method, TensorSource base, TensorSource adapter, int threads)
            throws IOException {
        TunedModel tuned = Tuning.of(config, method.over(TuningMethod.Quantization.NONE));
        return new MergeProbe(
                config,
                threads,
                logits(TunedModel.full(config), base, threads),
                logits(tuned, new OverlaidSource(base, adapter), threads));
    }

    /** The largest difference that the adapter makes to a logit. NaN where there are logits that are not numbers. */
    public float effect() {
        return difference(adapted, bare);
    }

    /**
     * Computes a merged model.
     *
     * @param dtype of its weights
     */
    public Merged compare(TensorSource merged, WeightDtype dtype) throws IOException {
        float[] found = logits(TunedModel.full(config), merged, threads);
        float largest = 0;
        for (float logit : bare) {
            largest = Math.max(largest, Math.abs(logit));
        }
        float share = dtype == WeightDtype.F32 ? FP32_SHARE : ROUNDED_SHARE;
        return new Merged(difference(found, bare), difference(found, adapted), share * effect() + NOISE * largest);
    }

    private static float difference(float[] first, float[] second) {
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
    public static int[] tokens(DecoderConfig config, int count) {
        int[] probe = IntStream.range(0, count)
                .map(i -> (i * 7919 + 13) % config.vocabulary())
                .toArray();
        if (config.markers() != null) {
            probe[probe.length - 2] = config.markers().gMask();
            probe[probe.length - 1] = config.markers().start();
        }
        return probe;
    }

    private static float[] logits(TunedModel model, TensorSource weights, int threads) throws IOException {
        DecoderConfig config = model.config();
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
