package org.shardloom.worker.model;

import java.util.List;

/**
 * What a tuning method adds to every layer.
 *
 * @param sites low-rank adapters, the same in every layer
 * @param scale factor on their output
 * @param dropout probability that an input of an adapter is zero in training
 * @param virtualTokens trained embeddings before those of the tokens; 0 for none
 * @param prefixLength trained keys and values before those of the tokens; 0 for none
 * @param prefixProjection whether they pass through two linear maps
 */
public record Adapters(
        List<LoraSite> sites,
        float scale,
        float dropout,
        int virtualTokens,
        int prefixLength,
        boolean prefixProjection) {
    /** None. */
    public static final Adapters NONE = new Adapters(List.of(), 0, 0, 0, 0, false);

    public Adapters {
        sites = List.copyOf(sites);
    }

    /** The adapters on a map. */
    List<LoraSite> on(String weight) {
        return sites.stream().filter(s -> s.weight().equals(weight)).toList();
    }
}
