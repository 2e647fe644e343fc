package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Keys and values of the tokens that some sequences have had so far, of every layer, so that a further token costs no more than
 * itself. Each sequence has a slot: {@code capacity} rows of each layer's [slots * capacity, 2 groups * headSize]. One thread.
 */
public final class KeyValueCache implements AutoCloseable {
    private final Device device;
    private final Memory memory;
    private final int capacity;
    private final int prefixLength;
    private final int[] lengths;
    private final PrefixPositions.Place[] places;
    private final List<Tensor> layers = new ArrayList<>();

    /**
     * Empty slots.
     *
     * @param dtype that of the model's activations
     * @param slots number of sequences
     * @param capacity most tokens of a sequence
     */
    public KeyValueCache(DecoderConfig config, Device device, DType dtype, int slots, int capacity) {
        this(config, device, dtype, slots, capacity, null);
    }

    /**
     * Slots whose sequences all see trained keys and values before their own, which do not count as tokens.
     *
     * @param prefix [P, layers * 2 * groups * headSize] in the dtype: by layer all keys, then all values; null for none
     */
    public KeyValueCache(DecoderConfig config, Device device, DType dtype, int slots, int tokens, Tensor prefix) {
        this.device = device;
        this.memory = device.memory(Purpose.ACTIVATIONS);
        this.prefixLength = prefix == null ? 0 : (int) prefix.rows();
        this.capacity = tokens + prefixLength;
        this.lengths = new int[slots];
        this.places = new PrefixPositions.Place[slots];
        Math.multiplyExact(slots, capacity); // rows are numbered in int32
        for (int i = 0; i < config.layers(); i++) {
            layers.add(memory.allocate(
                    dtype, (long) slots * capacity, config.attention().cacheWidth()));
        }
        if (prefix != null) {
            writePrefix(prefix, slots);
        }
    }

    private void writePrefix(Tensor prefix, int slots) {
        int count = slots * prefixLength;
        int[] places = IntStream.range(0, count)
                .map(i -> i / prefixLength * capacity + i % prefixLength)
                .toArray();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            long width = layers.get(0).columns();
            Tensor rows = work.allocate(prefix.dtype(), count, width);
            Tensor table = prefix.reshape(prefix.elements() / width, width);
            IndexTensor to = Inputs.indices(device, work, places);
            for (int layer = 0; layer < layers.size(); layer++) {
                int first = layer;
                int[] from = IntStream.range(0, count)
                        .map(i -> i % prefixLength * layers.size() + first)
                        .toArray();
                device.ops().gatherRows(rows, table, Inputs.indices(device, work, from));
                device.ops().scatterRows(layers.get(layer), rows, to);
            }
        }
    }

    /** How many tokens each of the slots has. */
    public int[] lengths(int... slots) {
        return Arrays.stream(slots).map(slot -> lengths[slot]).toArray();
    }

    /**
     * The batch of further tokens of the slots, with their positions.
     *
     * @param markers of ChatGLM-6B, whose sequences must begin with a whole source and sop; null in other models
     * @param virtualTokens before the tokens of slots that have none yet
     * @throws IllegalArgumentException when a sequence begins otherwise
     */
    public PackedBatch batch(int[] slots, List<int[]> tokens, PrefixPositions.Markers markers, int virtualTokens) {
        int[] past = lengths(slots);
        PackedBatch batch = PackedBatch.following(tokens, past).withVirtualTokens(virtualTokens);
        if (markers == null) {
            return batch;
        }
        for (int i = 0; i < slots.length; i++) {
            if (past[i] == 0) {
                int[] ids = Arrays.copyOfRange(batch.ids(), batch.starts()[i], batch.starts()[i + 1]);
                int[] alone = {0, ids.length};
                places[slots[i]] = PrefixPositions.of(ids, alone, markers).placeOf(0, alone);
            }
        }
        return batch.with(PrefixPositions.following(
                batch.starts(),
                past,
                Arrays.stream(slots).mapToObj(s -> places[s]).toArray(PrefixPositions.Place[]::new)));
    }

    /** Forgets the slot's tokens. */
    public void clear(int slot) {
        lengths[slot] = 0;
    }

    /**
     * Prepares for more tokens.
     *
     * @param scope where the extension's index vectors are kept
     * @param slots that get tokens, each at most once
     * @param counts how many each gets
     * @throws IllegalArgumentException when a slot has no room for them
     */
    public Extension extend(Memory scope, int[] slots, int[] counts) {
        for (int i = 0; i < slots.length; i++) {
            if (prefixLength + lengths[slots[i]] + counts[i] > capacity) {
                throw new IllegalArgumentException("slot " + slots[i] + " of the cache has " + lengths[slots[i]]
                        + " tokens of at most " + (capacity - prefixLength) + ", no room for " + counts[i] + " more");
            }
        }
        int[] starts = Arrays.stream(slots).map(slot -> slot * capacity).toArray();
        int[] contexts = Arrays.stream(slots)
                .filter(slot -> places[slot] != null)
                .map(slot -> places[slot].prefixLength() + prefixLength)
                .toArray();
        return new Extension(
                contexts.length == 0 ? null : Inputs.indices(device, scope, contexts),
                slots.clone(),
                counts.clone(),
                Inputs.indices(device, scope, starts),
                Inputs.indices(
                        device,
                        scope,
                        Arrays.stream(lengths(slots)).map(n -> n + prefixLength).toArray()));
    }

    /** Tokens on their way into the cache: every layer adds theirs, then {@link #commit} counts them. */
    public final class Extension {
        private final IndexTensor contexts;
        private final int[] slots;
        private final int[] counts;
        private final IndexTensor starts;
        private final IndexTensor past;

        private Extension(IndexTensor contexts, int[] slots, int[] counts, IndexTensor starts, IndexTensor past) {
            this.contexts = contexts;
            this.slots = slots;
            this.counts = counts;
            this.starts = starts;
            this.past = past;
        }

        /** What a layer's attention needs. */
        public Layer layer(int layer) {
            return new Layer(layers.get(layer), starts, contexts, past);
        }

        /** The slots have the tokens from now on. */
        public void commit() {
            for (int i = 0; i < slots.length; i++) {
                lengths[slots[i]] += counts[i];
            }
        }
    }

    /**
     * A layer's keys and values for the sequences of a batch.
     *
     * @param rows [slots * capacity, 2 groups * headSize]: k|v of a token a row
     * @param starts row of each sequence's first token
     * @param contexts of ChatGLM-6B: how many of the first rows of each sequence all of it see, those of a prefix among them; null in other
     *     models
     * @param past tokens of each sequence that are there, those of a prefix among them
     */
    public record Layer(Tensor rows, IndexTensor starts, IndexTensor contexts, IndexTensor past) {}

    @Override
    public void close() {
        memory.close();
    }
}
