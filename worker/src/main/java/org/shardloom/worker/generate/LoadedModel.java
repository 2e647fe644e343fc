package org.shardloom.worker.generate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
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
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.model.LayerCall;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.Prefix;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.model.UnitView;

/** A whole model in one process, in fp32, for forward passes. One thread. */
public final class LoadedModel implements TokenModel, AutoCloseable {
    private static final DType DTYPE = DType.F32;
    private final CpuDevice device;
    private final Decoder decoder;
    private final Memory memory;
    private final int positions;
    private final List<UnitView> units = new ArrayList<>();
    private final BlockView[] blocks;

    private LoadedModel(TunedModel model, int threads, int positions) {
        this.device = new CpuDevice(threads);
        this.positions = positions;
        this.decoder = new Decoder(model, device, positions);
        this.memory = device.memory(Purpose.PARAMETERS);
        for (UnitSpec unit : model.units()) {
            Tensor flat = memory.allocate(DTYPE, unit.elements());
            device.ops().zero(flat);
            units.add(new UnitView(unit, flat));
        }
        this.blocks = new BlockView[model.blockCount() + 1];
        for (int b = 0; b < blocks.length; b++) {
            blocks[b] = new BlockView(
                    Arrays.stream(model.unitsOf(b)).mapToObj(units::get).toList());
        }
    }

    /**
     * Reads a model.
     *
     * @param positions longest sequence that will be seen
     */
    public static LoadedModel open(ModelSource files, int threads, int positions) throws IOException {
        LoadedModel model = new LoadedModel(files.model(), threads, positions);
        try {
            files.fill(unit -> model.units.get(unit).flat());
            return model;
        } catch (IOException | RuntimeException e) {
            model.close();
            throw e;
        }
    }

    /** Reads whatever {@link ModelSource#of} knows. */
    public static LoadedModel open(Path directory, int threads, int positions) throws IOException {
        try (ModelSource files = ModelSource.of(directory, null)) {
            return open(files, threads, positions);
        }
    }

    @Override
    public DecoderConfig config() {
        return decoder.config();
    }

    @Override
    public Adapters adapters() {
        return decoder.model().adapters();
    }

    @Override
    public int positions() {
        return positions;
    }

    /** fp32 logits after every token of every sequence, in order: [tokens][vocabulary]. */
    public float[][] allLogits(List<int[]> sequences) {
        sequences.forEach(this::check);
        PackedBatch batch = PackedBatch.following(sequences, new int[sequences.size()]);
        return logits(batch, batch.withVirtualTokens(adapters().virtualTokens()).realRows(), null);
    }

    @Override
    public KeyValueCache newCache(int slots, int capacity) {
        if (slots < 1 || capacity < 1 || capacity > positions) {
            throw new IllegalArgumentException("a cache of " + slots + " sequences of " + capacity
                    + " tokens, expected at least one of 1 to " + positions);
        }
        try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            Tensor prefix = decoder.prefixKeysValues(blocks[decoder.model().prefixBlock()], DTYPE, scope);
            return new KeyValueCache(
                    config(), device, DTYPE, slots, capacity + adapters().virtualTokens(), prefix);
        }
    }

    @Override
    public long cacheBytesPerToken() {
        return config().layers() * config().attention().cacheWidth() * DTYPE.bytes;
    }

    @Override
    public float[][] extend(KeyValueCache cache, int[] slots, List<int[]> tokens) {
        tokens.forEach(this::check);
        PackedBatch batch =
                cache.batch(slots, tokens, config().markers(), adapters().virtualTokens());
        int[] last = IntStream.range(0, slots.length)
                .map(i -> batch.starts()[i + 1] - 1)
                .toArray();
        try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            int[] counts = IntStream.range(0, slots.length)
                    .map(i -> batch.starts()[i + 1] - batch.starts()[i])
                    .toArray();
            KeyValueCache.Extension extension = cache.extend(scope, slots, counts);
            float[][] logits = logits(batch, last, extension);
            extension.commit();
            return logits;
        }
    }

    /**
     * Whether adapters or a prefix act: the largest difference that they make to a logit of a few tokens.
     *
     * @return 0 where the model has none
     */
    public float effect() {
        int[] probe = MergeProbe.tokens(config(), Math.min(16, positions));
        float[][] with = allLogits(List.of(probe));
        TunedModel bare = new TunedModel(config(), decoder.model().units(), Adapters.NONE);
        float most = 0;
        try (Decoder without = new Decoder(bare, device, positions)) {
            PackedBatch batch = PackedBatch.following(List.of(probe), new int[1]);
            float[][] base =
                    logits(without, batch, IntStream.range(0, probe.length).toArray(), null);
            for (int t = 0; t < probe.length; t++) {
                for (int v = 0; v < with[t].length; v++) {
                    most = Math.max(most, Math.abs(with[t][v] - base[t][v]));
                }
            }
        }
        return most;
    }

    private float[][] logits(PackedBatch batch, int[] rows, KeyValueCache.Extension cache) {
        return logits(decoder, batch, rows, cache);
    }

    private float[][] logits(Decoder decoder, PackedBatch batch, int[] rows, KeyValueCache.Extension cache) {
        try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            BatchOnDevice inputs = decoder.inputs(scope, batch, false);
            Tensor x = stream(decoder, inputs, cache, scope);
            IndexTensor indices = Inputs.indices(device, scope, rows);
            float[] flat = Inputs.toFloats(device, decoder.logits(head(), blocks[0], x, indices, scope));
            float[][] result = new float[rows.length][config().vocabulary()];
            for (int i = 0; i < rows.length; i++) {
                System.arraycopy(flat, i * config().vocabulary(), result[i], 0, config().vocabulary());
            }
            return result;
        }
    }

    /** Sum of the cross-entropies of the batch's targets, in nats; logits exist for some tokens at a time only. */
    public double loss(PackedBatch batch) {
        try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            BatchOnDevice inputs = decoder.inputs(scope, batch, false);
            return decoder.loss(head(), blocks[0], inputs, stream(decoder, inputs, null, scope));
        }
    }

    private BlockView head() {
        return blocks[config().layers() + 1];
    }

    /** [T, H] after the last layer. */
    private Tensor stream(Decoder decoder, BatchOnDevice inputs, KeyValueCache.Extension cache, Memory scope) {
        PackedBatch batch = inputs.host();
        Prefix prefix = cache != null
                ? null
                : decoder.prefix(blocks[decoder.model().prefixBlock()], batch, DTYPE, false, scope);
        Tensor x = scope.allocate(DTYPE, batch.tokens(), config().hidden());
        Tensor y = scope.allocate(DTYPE, batch.tokens(), config().hidden());
        decoder.embed(blocks[0], inputs, x);
        for (int layer = 0; layer < config().layers(); layer++) {
            LayerCall call = cache != null
                    ? new LayerCall(layer, inputs, cache.layer(layer))
                    : new LayerCall(layer, inputs, prefix, 0);
            try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
                decoder.layer(blocks[layer + 1], call, x, kept, y);
            }
            Tensor swap = x;
            x = y;
            y = swap;
        }
        return x;
    }

    @Override
    public void close() {
        memory.close();
        decoder.close();
        device.close();
    }
}
