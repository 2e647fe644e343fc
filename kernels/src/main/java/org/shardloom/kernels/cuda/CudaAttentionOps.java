package org.shardloom.kernels.cuda;

import static org.shardloom.kernels.device.Shapes.require;

import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.AttentionTiles;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpShapes;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Rotary positions and attention on the stream. */
abstract class CudaAttentionOps extends CudaFirstGlmOps implements Ops {
    private static final int WARP = 32;
    /** Shared memory that every device gives a block without being asked, in floats. */
    private static final int SHARED = 48 * 1024 / 4;

    private final FlashAttention flash;
    private boolean tensorCores = true;

    CudaAttentionOps(Stream stream) {
        super(stream);
        flash = new FlashAttention(stream);
    }

    /** False: attention takes the simple kernels whatever its shape, as tests do that compare the two. */
    final void useTensorCores(boolean yes) {
        tensorCores = yes;
    }

    @Override
    public void rotary(Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape shape) {
        rotate(qkv, bias, table, positions, shape, false);
    }

    @Override
    public void rotaryBackward(Tensor gradQkv, Tensor table, IndexTensor positions, AttentionShape shape) {
        rotate(gradQkv, null, table, positions, shape, true);
    }

    private void rotate(
            Tensor qkv, Tensor bias, Tensor table, IndexTensor positions, AttentionShape s, boolean inverse) {
        OpShapes.rotary(qkv, bias, table, positions, s);
        stream.rows(
                "rotary" + Stream.suffix(qkv.dtype()),
                qkv.rows(),
                s.qkvWidth(),
                qkv,
                bias,
                table,
                positions.storage(),
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead() ? 1 : 0,
                s.rotaryDim(),
                s.dimensions(),
                s.rotation() == AttentionShape.Rotation.INTERLEAVED ? 1 : 0,
                inverse ? 1 : 0);
    }

    @Override
    public void attention(
            Tensor context, Tensor logSums, Tensor qkv, IndexTensor starts, IndexTensor contexts, AttentionShape s) {
        OpShapes.attention(context, logSums, qkv, starts, contexts, s);
        attend(context, logSums, qkv, null, starts, contexts, null, null, s);
    }

    @Override
    public void attentionWithCache(
            Tensor context,
            Tensor cache,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            IndexTensor cacheStarts,
            IndexTensor past,
            AttentionShape s) {
        OpShapes.attentionWithCache(context, cache, qkv, starts, contexts, cacheStarts, past, s);
        int sequences = starts.count() - 1;
        stream.rows(
                "cache_append" + Stream.suffix(qkv.dtype()),
                qkv.rows(),
                s.cacheWidth() / 2,
                cache,
                qkv,
                starts.storage(),
                cacheStarts.storage(),
                past.storage(),
                sequences,
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead() ? 1 : 0);
        attend(context, null, qkv, cache, starts, contexts, cacheStarts.storage(), past.storage(), s);
    }

    private void attend(
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            Tensor cache,
            IndexTensor starts,
            IndexTensor contexts,
            Tensor cacheStarts,
            Tensor past,
            AttentionShape s) {
        if (tensorCores && AttentionTiles.onTensorCores(s, qkv, context, cache)) {
            flash.forward(context, logSums, qkv, cache, starts, storage(contexts), cacheStarts, past, s);
            return;
        }
        stream.launch(
                "attention" + Stream.suffix(qkv.dtype()),
                qkv.rows(),
                s.heads(),
                WARP,
                shared(2, 1, s),
                context,
                logSums,
                qkv,
                cache,
                starts.storage(),
                storage(contexts),
                cacheStarts,
                past,
                starts.count() - 1,
                s.heads(),
                s.groups(),
                s.headSize(),
                s.byHead() ? 1 : 0);
    }

    @Override
    public void attentionBackward(
            Tensor gradQkv,
            Tensor gradContext,
            Tensor context,
            Tensor logSums,
            Tensor qkv,
            IndexTensor starts,
            IndexTensor contexts,
            AttentionShape s) {
        OpShapes.attentionBackward(gradQkv, gradContext, context, logSums, qkv, starts, contexts, s);
        if (tensorCores && AttentionTiles.onTensorCores(s, qkv, context, gradContext, gradQkv)) {
            flash.backward(gradQkv, gradContext, context, logSums, qkv, starts, storage(contexts), s);
            return;
        }
        int sequences = starts.count() - 1, byHead = s.byHead() ? 1 : 0;
        Tensor first = starts.storage(), prefixes = storage(contexts);
        int shared = shared(3, 1, s), sharedOfKeys = shared(4, 2, s);
        try (Memory scope = stream.workspace()) {
            Tensor deltas = scope.allocate(DType.F32, qkv.rows(), s.heads());
            stream.launch(
                    "attention_grad_query" + Stream.suffix(qkv.dtype()),
                    qkv.rows(),
                    s.heads(),
                    WARP,
                    shared,
                    gradQkv,
                    deltas,
                    gradContext,
                    context,
                    logSums,
                    qkv,
                    first,
                    prefixes,
                    sequences,
                    s.heads(),
                    s.groups(),
                    s.headSize(),
                    byHead);
            stream.launch(
                    "attention_grad_key" + Stream.suffix(qkv.dtype()),
                    qkv.rows(),
                    s.groups(),
                    WARP,
                    sharedOfKeys,
                    gradQkv,
                    deltas,
                    gradContext,
                    logSums,
                    qkv,
                    first,
                    prefixes,
                    sequences,
                    s.heads(),
                    s.groups(),
                    s.headSize(),
                    byHead);
        }
    }

    /** Bytes for vectors of a head's size and of a warp's. */
    private static int shared(int heads, int warps, AttentionShape s) {
        long floats = (long) heads * s.headSize() + warps * WARP;
        require(floats <= SHARED, "heads of %d elements do not fit a block's shared memory", s.headSize());
        return (int) floats * 4;
    }

    private static Tensor storage(IndexTensor indices) {
        return indices == null ? null : indices.storage();
    }
}
