package org.shardloom.worker.model;

import org.shardloom.kernels.device.AttentionShape;

/**
 * The shape of a decoder: RMSNorm, rotary positions, grouped-query attention, SwiGLU; or that of ChatGLM-6B, the first of its family, with
 * LayerNorm, GELU and a source whose tokens attend to each other both ways.
 *
 * @param names whose parameter names its files use
 * @param vocabulary rows of the embedding and of the output head
 * @param hidden width of the residual path
 * @param layers number of layers
 * @param attention heads, groups and rotation
 * @param feedForward width of the activated rows
 * @param normEpsilon added to the mean square in norms
 * @param ropeBase base of the rotary frequencies
 * @param maxPositions longest sequence
 * @param qkvBias whether queries, keys and values have biases
 * @param tiedEmbeddings whether the output head is the embedding
 * @param markers tokens that divide a sequence of ChatGLM-6B into source and target; null in other models
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
        boolean tiedEmbeddings,
        PrefixPositions.Markers markers) {

    /** Every model but ChatGLM-6B. */
    public DecoderConfig(
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
        this(
                names,
                vocabulary,
                hidden,
                layers,
                attention,
                feedForward,
                normEpsilon,
                ropeBase,
                maxPositions,
                qkvBias,
                tiedEmbeddings,
                null);
    }

    /** Whether it is a ChatGLM-6B. */
    public boolean firstGlm() {
        return names == Names.CHATGLM_6B;
    }

    /** Whose parameter names and layout the files use. */
    public enum Names {
        /** ChatGLM2 and ChatGLM3. */
        CHATGLM,
        /** The first. */
        CHATGLM_6B,
        LLAMA
    }
}
