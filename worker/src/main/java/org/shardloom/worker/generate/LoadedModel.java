package org.shardloom.worker.generate;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.plan.PlanDevice;
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
import org.shardloom.worker.model.PrefixTable;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.zero.WholeParameters;

/** A whole model in one process, for forward passes. One thread. */
public final class LoadedModel implements TokenModel, AutoCloseable {
    private final Device device;
    private final DType dtype;
    private final Decoder decoder;
    private final WholeParameters parameters;
    private final int positions;
    /** What else goes with the model. */
    private AutoCloseable own = () -> {};

    private LoadedModel(TunedModel model, Device device, DType dtype, int positions) {
        this.device = device;
        this.dtype = dtype;
        this.positions = positions;
        this.decoder = new Decoder(model, device, positions);
        try {
            this.parameters = new WholeParameters(model, device, dtype);
        } catch (RuntimeException e) {
            decoder.close();
            throw e;
        }
    }

    /**
     * Reads a model.
     *
     * @param device outlives the model
     * @param dtype of weights, activations, keys and values, but for adapters, tables of prefixes and virtual tokens, which are fp32, and a
     *     base that was quantised, which stays in NF4
     * @param positions longest sequence that will be seen
     */
    public static LoadedModel open(ModelSource files, Device device, DType dtype, int positions) throws IOException {
        LoadedModel model = new LoadedModel(files.model(), device, dtype, positions);
        try {
            files.fill(model.parameters);
            return model;
        } catch (IOException | RuntimeException e) {
            model.close();
            throw e;
        }
    }

    /**
     * Reads a model in fp32, for this host's processors.
     *
     * @param positions longest sequence that will be seen
     */
    public static LoadedModel open(ModelSource files, int threads, int positions) throws IOException {
        CpuDevice device = new CpuDevice(threads);
        try {
            LoadedModel model = open(files, device, DType.F32, positions);
            model.own = device;
            return model;
        } catch (IOException | RuntimeException e) {
            device.close();
            throw e;
        }
    }

    /** Reads whatever {@link ModelSource#of} knows, in fp32, for this host's processors. */
    public static LoadedModel open(Path directory, int threads, int positions) throws IOException {
        try (ModelSource files = ModelSource.of(directory, null)) {
            return open(files, threads, positions);
        }
    }

    /** Of weights and activations. */
    public DType dtype() {
        return dtype;
    }

    /** A model on a device that computes nothing, without its weights. */
    static LoadedModel onPaper(TunedModel model, PlanDevice device, DType dtype, int positions) {
        return new LoadedModel(model, device, dtype, positions);
    }

    /** What its parameters take. */
    long parameterBytes() {
        return parameters.bytes();
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
            int tokens = capacity + adapters().virtualTokens();
            return new KeyValueCache(config(), device, dtype, slots, tokens, prefix(scope));
        }
    }

    /** Keys and values for a cache; null where there is no prefix. */
    private Tensor prefix(Memory scope) {
        PrefixTable table = with(decoder.model().prefixBlock(), block -> decoder.prefixTable(block, dtype, scope));
        for (int l = 0; l < config().layers() && adapters().prefixProjection(); l++) {
            int layer = l;
            with(layer + 1, block -> {
                table.fill(layer, block);
                return null;
            });
        }
        return table == null ? null : table.keysValues();
    }

    @Override
    public long cacheBytesPerToken() {
        return config().layers() * config().attention().cacheWidth() * dtype.bytes;
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
            float[] flat = with(
                    0,
                    embedding -> with(
                            head(),
                            head -> Inputs.toFloats(device, decoder.logits(head, embedding, x, indices, scope))));
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
            Tensor x = stream(decoder, inputs, null, scope);
            return with(0, embedding -> with(head(), head -> decoder.loss(head, embedding, inputs, x)));
        }
    }

    private int head() {
        return config().layers() + 1;
    }

    /** Computes with a block's parameters. */
    private <T> T with(int block, Function<BlockView, T> computation) {
        try {
            return computation.apply(parameters.gather(block));
        } finally {
            parameters.release(block);
        }
    }

    /** [T, H] after the last layer. */
    private Tensor stream(Decoder decoder, BatchOnDevice inputs, KeyValueCache.Extension cache, Memory scope) {
        PackedBatch batch = inputs.host();
        Prefix prefix = cache != null
                ? null
                : with(decoder.model().prefixBlock(), block -> decoder.prefix(block, batch, dtype, false, scope));
        Tensor x = scope.allocate(dtype, batch.tokens(), config().hidden());
        Tensor y = scope.allocate(dtype, batch.tokens(), config().hidden());
        Tensor embedded = x;
        with(0, embedding -> {
            decoder.embed(embedding, inputs, embedded);
            return null;
        });
        for (int layer = 0; layer < config().layers(); layer++) {
            LayerCall call = cache != null
                    ? new LayerCall(layer, inputs, cache.layer(layer))
                    : new LayerCall(layer, inputs, prefix, 0);
            try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
                decoder.layer(parameters.gather(layer + 1), call, x, kept, y);
            } finally {
                parameters.release(layer + 1);
            }
            Tensor swap = x;
            x = y;
            y = swap;
        }
        return x;
    }

    @Override
    public void close() {
        parameters.close();
        decoder.close();
        try {
            own.close();
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}
