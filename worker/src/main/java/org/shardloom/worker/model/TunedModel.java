package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A model as a tuning method trains it.
 *
 * @param config its shape
 * @param units all of them, those of a block next to each other
 * @param adapters what the method adds
 */
public record TunedModel(DecoderConfig config, List<UnitSpec> units, Adapters adapters) {
    public TunedModel {
        units = List.copyOf(units);
    }

    /** All parameters trained, nothing added. */
    public static TunedModel full(DecoderConfig config) {
        return new TunedModel(config, DecoderUnits.of(config), Adapters.NONE);
    }

    /** Embedding, layers, head. */
    public int blockCount() {
        return config.layers() + 2;
    }

    /** The block of the prefix, whose keys and values all layers use. */
    public int prefixBlock() {
        return blockCount();
    }

    /** Indices of the block's units in {@link #units}. */
    public int[] unitsOf(int block) {
        return IntStream.range(0, units.size())
                .filter(u -> units.get(u).block() == block)
                .toArray();
    }

    /** The units that are trained, in order: those that have optimizer state and are in checkpoints. */
    public List<UnitSpec> trained() {
        return units.stream().filter(UnitSpec::trained).toList();
    }

    /** Position of every unit in {@link #trained}; -1 for a frozen one. */
    public int[] trainedIndices() {
        int[] indices = new int[units.size()];
        int next = 0;
        for (int u = 0; u < indices.length; u++) {
            indices[u] = units.get(u).trained() ? next++ : -1;
        }
        return indices;
    }

    /** Positions in {@link #trained} in the order in which a backward pass completes gradients. */
    public int[] backwardOrder() {
        List<UnitSpec> trained = trained();
        return IntStream.range(0, trained.size())
                .boxed()
                .sorted(Comparator.comparing(trained::get, inBackward(prefixBlock())))
                .mapToInt(Integer::intValue)
                .toArray();
    }

    /** As a backward pass comes to units: head, layers from the top, embedding, prefix. */
    public static Comparator<UnitSpec> inBackward(int prefixBlock) {
        return Comparator.comparingInt(unit -> unit.block() == prefixBlock ? 1 : -unit.block());
    }

    /** The lowest block, in the order of the forward pass, whose backward pass is needed; the embedding's is 0. */
    public int lowestTrainedBlock() {
        List<Integer> blocks = new ArrayList<>();
        for (UnitSpec unit : units) {
            if (unit.trained()) {
                blocks.add(unit.block() == prefixBlock() ? 1 : unit.block());
            }
        }
        return blocks.stream().mapToInt(Integer::intValue).min().orElse(blockCount());
    }
}
