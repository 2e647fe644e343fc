package org.shardloom.deploy.bench;

import static org.shardloom.kernels.cuda.KernelCosts.*;

import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.cuda.KernelCosts.Size;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.AttentionTiles;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.DecoderConfig;

/** Rotation and attention of one sequence: in training, and of a prompt whose keys and values are kept for its answer. */
final class AttentionCases extends KernelCaseList {
    private AttentionCases(CudaDevice device, DecoderConfig model, int tokens, DType dtype) {
        super(device, model, tokens, dtype);
    }

    /** Without a device they can be listed, not prepared. */
    static List<KernelCase> of(CudaDevice device, DecoderConfig model, int tokens, DType dtype) {
        AttentionCases all = new AttentionCases(device, model, tokens, dtype);
        all.rotation();
        all.attention();
        all.cached();
        return all.cases;
    }

    private void rotation() {
        AttentionShape s = model.attention();
        Size rotation = Size.rotary(tokens, dtype.bytes, s);
        add("rotary", ROTARY, rotation, m -> {
            Tensor qkv = zeros(m, dtype, tokens, s.qkvWidth()), table = zeros(m, DType.F32, tokens, s.pairs(), 2);
            IndexTensor positions = Inputs.indices(device, m, new int[tokens * s.dimensions()]);
            return () -> ops().rotary(qkv, null, table, positions, s);
        });
        add("rotary_backward", ROTARY, rotation, m -> {
            Tensor qkv = zeros(m, dtype, tokens, s.qkvWidth()), table = zeros(m, DType.F32, tokens, s.pairs(), 2);
            IndexTensor positions = Inputs.indices(device, m, new int[tokens * s.dimensions()]);
            return () -> ops().rotaryBackward(qkv, table, positions, s);
        });
    }

    private void attention() {
        AttentionShape s = model.attention();
        Size size = Size.attention(new int[] {tokens}, null, dtype.bytes, s);
        boolean flash = AttentionTiles.onTensorCores(s, dtype);
        add("attention", flash ? FLASH_ATTENTION : ATTENTION, size, m -> {
            Tensor qkv = zeros(m, dtype, tokens, s.qkvWidth()), context = zeros(m, dtype, tokens, s.contextWidth());
            Tensor logSums = zeros(m, DType.F32, tokens, s.heads());
            IndexTensor starts = Inputs.indices(device, m, 0, tokens);
            return () -> ops().attention(context, logSums, qkv, starts, s);
        });
        Map<KernelCosts, Size> backward = new EnumMap<>(KernelCosts.class);
        backward.put(flash ? FLASH_ATTENTION_GRAD_QUERY : ATTENTION_GRAD_QUERY, size);
        backward.put(flash ? FLASH_ATTENTION_GRAD_KEY : ATTENTION_GRAD_KEY, size);
        int parts = flash ? AttentionTiles.parts(AttentionTiles.tiles(tokens, 1), s) : 1;
        if (parts > 1) {
            backward.put(FLASH_SUM_PARTS, Size.of((long) parts * tokens, s.cacheWidth(), dtype.bytes, parts));
        }
        add("attention_backward", backward, m -> {
            Tensor qkv = zeros(m, dtype, tokens, s.qkvWidth()), context = zeros(m, dtype, tokens, s.contextWidth());
            Tensor out = zeros(m, dtype, tokens, s.qkvWidth()), grad = zeros(m, dtype, tokens, s.contextWidth());
            Tensor logSums = zeros(m, DType.F32, tokens, s.heads());
            IndexTensor starts = Inputs.indices(device, m, 0, tokens);
            return () -> ops().attentionBackward(out, grad, context, logSums, qkv, starts, s);
        });
    }

    private void cached() {
        AttentionShape s = model.attention();
        Size size = Size.attention(new int[] {tokens}, null, dtype.bytes, s);
        boolean flash = AttentionTiles.onTensorCores(s, dtype);
        Map<KernelCosts, Size> sizes = new EnumMap<>(KernelCosts.class);
        sizes.put(CACHE_APPEND, Size.of(tokens, s.cacheWidth(), dtype.bytes));
        sizes.put(flash ? FLASH_ATTENTION_WITH_CACHE : ATTENTION_WITH_CACHE, size);
        add("attention_with_cache", sizes, m -> {
            Tensor qkv = zeros(m, dtype, tokens, s.qkvWidth()), context = zeros(m, dtype, tokens, s.contextWidth());
            Tensor cache = zeros(m, dtype, tokens, s.cacheWidth());
            IndexTensor starts = Inputs.indices(device, m, 0, tokens);
            IndexTensor cacheStarts = Inputs.indices(device, m, 0), past = Inputs.indices(device, m, 0);
            return () -> ops().attentionWithCache(context, cache, qkv, starts, null, cacheStarts, past, s);
        });
    }
}
