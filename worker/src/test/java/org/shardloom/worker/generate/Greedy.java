package org.shardloom.worker.generate;

import java.util.Set;

/** Generators as the reference's: the likeliest token of the whole vocabulary. */
final class Greedy {
    private Greedy() {}

    static Generator of(LoadedModel model, Integer... stops) {
        return new Generator(model, model.config().vocabulary(), Set.of(stops), SamplingOptions.GREEDY);
    }
}
