package org.shardloom.worker.model;

import org.shardloom.kernels.device.AttentionShape;

/**
 * The shape of a decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
 *
 * @param names whose parameter names its files use
 * @param vocabulary rows of the embedding and of the output head
 * @param hidden width of the residual path
 * @param layers number of layers
 * @param attention heads, groups and rotation
 * @param feedForward width between gate and down projection
 * @param normEpsilon added to the mean square in norms
 * @param ropeBase base of the rotary frequencies
 * @param maxPositions longest sequence
 * @param qkvBias whether queries, keys and values have biases
 * @param tiedEmbeddings whether the output head is the embedding
 */
public record DecoderConfig(
        Names names,
        int vocabulary,
        int hidden,
        int layers,
        AttentionShape attention,
        int feedForward,
        float normEpsilon,
        double ropeBase,
        int maxPositions,
        boolean qkvBias,
        boolean tiedEmbeddings) {

    /** Whose parameter names and layout the files use. */
    public enum Names {
        CHATGLM,
        LLAMA
    }
}
