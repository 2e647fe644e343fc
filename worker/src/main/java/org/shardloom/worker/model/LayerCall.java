package org.shardloom.worker.model;

/**
 * What a layer is run on.
 *
 * @param layer index of the layer
 * @param batch the micro-batch
 * @param prefix trained keys and values of the micro-batch; null for none
 * @param dropoutKey of the micro-batch; 0 outside training
 * @param inputGradient whether backward must find the gradient of the layer's input: something below is trained
 * @param cache of the tokens before the batch's, which are added to it; there is no backward pass then. Null: the batch's sequences are
 *     whole
 */
public record LayerCall(
        int layer,
        BatchOnDevice batch,
        Prefix prefix,
        long dropoutKey,
        boolean inputGradient,
        KeyValueCache.Layer cache) {
    /** Whole sequences. */
    public LayerCall(int layer, BatchOnDevice batch, Prefix prefix, long dropoutKey) {
        this(layer, batch, prefix, dropoutKey, true, null);
    }

    /** Tokens that follow those of a cache, which has the prefix, too, where there is one. */
    public LayerCall(int layer, BatchOnDevice batch, KeyValueCache.Layer cache) {
        this(layer, batch, null, 0, false, cache);
    }

    /** A key of its own for every site of every layer; String.hashCode is the same everywhere. */
    long dropoutKey(LoraSite site) {
        return (dropoutKey * 31 + layer) * 0x9E3779B97F4A7C15L + site.a().hashCode();
    }
}
