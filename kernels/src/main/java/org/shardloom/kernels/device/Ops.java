package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/**
 * The operations of a decoder's training step and of generation. T is the number of packed tokens of a micro-batch (sequences one after the
 * other, no padding), H the hidden size, F the feed-forward size, V the vocabulary. Activations have the training dtype
 * (fp32, bf16 or fp16); every operation computes in fp32 inside. A gradient of a parameter may have any dtype and is added
 * to where {@code accumulate} is true, overwritten otherwise. Outputs do not alias inputs unless said.
 * Shapes or dtypes that do not fit are an {@link IllegalArgumentException} before anything is issued.
 */
public interface Ops extends AdapterOps, FirstGlmOps, QuantizedOps, OptimizerOps {
    /** y[T, N] = x[T, K] weight[N, K]^T; y may be fp32 whatever x is. */
    void linear(Tensor y, Tensor x, Tensor weight);

    /** gradX[T, K] (+)= gradY[T, N] weight[N, K]. */
    void linearBackwardInput(Tensor gradX, Tensor gradY, Tensor weight, boolean accumulate);

    /** gradWeight[N, K] (+)= gradY[T, N]^T x[T, K]. */
    void linearBackwardWeight(Tensor gradWeight, Tensor gradY, Tensor x, boolean accumulate);

    /** out[count, N] = table[ids, N]; ids are int32 on the device. */
    void gatherRows(Tensor out, Tensor table, IndexTensor ids);

    /** out[ids, N] = rows[count, N]; the rest of out stays as it is. */
    void scatterRows(Tensor out, Tensor rows, IndexTensor ids);

    /**
     * gradWeight[ids[t], :] += gradOut[t, :] in an order that is the same at every call.
     *
     * @param order the tokens sorted by id, and by position among equals
     */
    void embeddingBackward(Tensor gradWeight, Tensor gradOut, IndexTensor ids, IndexTensor order);

    /**
     * RMSNorm (Zhang and Sennrich, 2019) of x, or of x + residual: out = s / sqrt(mean(s^2) + eps) * weight.
     *
     * @param out [T, H]
     * @param inverse fp32 [T], 1 / sqrt(mean(s^2) + eps), kept for backward
     * @param sum [T, H] receives s = x + residual; null without a residual. May alias x or residual.
     * @param residual [T, H] or null
     */
    void rmsNorm(Tensor out, Tensor inverse, Tensor sum, Tensor x, Tensor residual, Tensor weight, float eps);

    /**
     * gradX = gradient through the norm + skip.
     *
     * @param gradX [T, H], may alias gradOut or skip
     * @param gradWeight [H], or null where the weight is frozen
     * @param skip [T, H] gradient that reaches x by the residual path, or null
     */
    void rmsNormBackward(
            Tensor gradX,
            Tensor gradWeight,
            boolean accumulate,
            Tensor gradOut,
            Tensor x,
            Tensor inverse,
            Tensor weight,
            Tensor skip);

    /**
     * Adds the bias to rows of q|k|v and rotates the first {@code rotaryDim} elements of every q and k head, in place
     * (Su et al., 2021).
     *
     * @param qkv [T, (heads + 2 groups) * headSize]
     * @param bias of the same width, or null
     * @param table fp32 [positions, pairs, 2] of cosines and sines
     * @param positions int32 [T], or [2, T] where positions have two dimensions
     */
    void rotary(Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape shape);

    /** In place: the rotation undone, which is its gradient. */
    void rotaryBackward(Tensor gradQkv, Tensor table, IndexTensor positions, AttentionShape shape);

    /**
     * Causal softmax(q k^T / sqrt(headSize)) v within each sequence, fp32 softmax.
     *
     * @param contexts int32 [sequences]: how many of the first tokens of each sequence all its tokens see, also those before; null for 0
     * @param context [T, heads * headSize]
     * @param logSums fp32 [T, heads]: log of the sum of exponentials, kept for backward
     * @param starts int32 [sequences + 1]: first token of each sequence, then T
     */
    void attention(
            Tensor context, Tensor logSums, Tensor qkv, IndexTensor starts, IndexTensor contexts, AttentionShape shape);

    /** Causal only. */
    default void attention(Tensor context, Tensor logSums, Tensor qkv, IndexTensor starts, AttentionShape shape) {
        attention(context, logSums, qkv, starts, null, shape);
    }

    /**
     * Adds the keys and values of new tokens to a cache; then {@link #attention} of the new tokens to all tokens of their sequence,
     * without a backward pass. Each sequence has rows of the cache to itself, one after the other; the indices are not checked.
     *
     * @param context [T, heads * headSize] of the T new tokens
     * @param cache [rows, 2 groups * headSize] in qkv's dtype: k|v of a token a row
     * @param qkv [T, (heads + 2 groups) * headSize] of the new tokens, rotated
     * @param starts int32 [sequences + 1]: first new token of each sequence, then T
     * @param cacheStarts int32 [sequences]: row of each sequence's first token
     * @param past int32 [sequences]: tokens of each sequence that the cache has already
     */
    void attentionWithCache(
            Tensor context,
            Tensor cache,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            IndexTensor cacheStarts,
            IndexTensor past,
            AttentionShape shape);

    /** Causal only. */
    default void attentionWithCache(
            Tensor context,
            Tensor cache,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor cacheStarts,
            IndexTensor past,
            AttentionShape shape) {
        attentionWithCache(context, cache, qkv, starts, null, cacheStarts, past, shape);
    }

    /** gradQkv is overwritten. */
    void attentionBackward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            AttentionShape shape);

    /** Causal only. */
    default void attentionBackward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            AttentionShape shape) {
        attentionBackward(gradQkv, gradContext, context, logSums, qkv, starts, null, shape);
    }

    /**
     * out[T, F] = silu(z[T, :F]) * z[T, F:] with z = gateUp + bias (Shazeer, 2020).
     *
     * @param bias [2F]; null for none
     */
    void swiglu(Tensor out, Tensor gateUp, Tensor bias);

    /** gradGateUp[T, 2F] is overwritten; it may alias gateUp. That of the bias is the sum of its rows. */
    void swigluBackward(Tensor gradGateUp, Tensor gradOut, Tensor gateUp, Tensor bias);

    /** out[N] (+)= sum over rows of x[T, N]: the gradient of a bias. */
    void columnSum(Tensor out, Tensor x, boolean accumulate);

    /**
     * Cross-entropy of each row, in nats, and its gradient times scale.
     *
     * @param losses fp32 [rows]
     * @param grad [rows, V], or null when only the losses are wanted
     * @param logits fp32 [rows, V]
     */
    void softmaxCrossEntropy(Tensor losses, Tensor grad, Tensor logits, IndexTensor targets, float scale);

    /** out = a + b; may alias. */
    void add(Tensor out, Tensor a, Tensor b);

    /**
     * Sum of the squares of all elements, in double precision and in an order that is the same at every call, however many threads there
     * are. The result is the host's: the call waits for it.
     *
     * @param x fp32
     */
    double sumOfSquares(Tensor x);
}
