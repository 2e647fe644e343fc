package org.shardloom.worker.model;

import java.util.Comparator;
import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Trained embeddings that stand before those of a sequence's tokens (Liu et al., 2021, "GPT Understands, Too"). To the layers they are tokens
 * like any other, with positions of their own.
 */
public final class VirtualTokens {
    private static final String TABLE = "virtual_tokens";

    private final Device device;

    VirtualTokens(Device device) {
        this.device = device;
    }

    /** The trained unit: [tokens, hidden], under the name that peft gives it. It is gathered with the embedding. */
    public static UnitSpec unit(DecoderConfig config, int tokens) {
        return new UnitSpec.Builder("prompt", 0)
                .added()
                .inFp32()
                .add(TABLE, ParameterSpec.Kind.WEIGHT, config.hidden(), "prompt_embeddings", tokens)
                .build();
    }

    /** Writes them over the rows of x[T, H] that are theirs. */
    void insert(BlockView embedding, BatchOnDevice batch, Tensor x) {
        if (batch.host().virtualRows().length == 0) {
            return;
        }
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor table = embedding.get(TABLE);
            Tensor rounded = work.allocate(x.dtype(), table.shape());
            device.ops().convert(rounded, table);
            Tensor rows = work.allocate(x.dtype(), batch.host().virtualRows().length, x.columns());
            device.ops().gatherRows(rows, rounded, which(batch, table, work));
            device.ops()
                    .scatterRows(
                            x, rows, Inputs.indices(device, work, batch.host().virtualRows()));
        }
    }

    /** Adds the gradients of their rows, sequence by sequence, to the table's, where it is trained. */
    void backward(BlockView embeddingGrad, BatchOnDevice batch, Tensor gradX) {
        Tensor gradient = embeddingGrad.find(TABLE);
        int[] places = batch.host().virtualRows();
        if (gradient == null || places.length == 0) {
            return;
        }
        int tokens = (int) gradient.rows();
        int[] order = IntStream.range(0, places.length)
                .boxed()
                .sorted(Comparator.comparingInt(i -> i % tokens))
                .mapToInt(Integer::intValue)
                .toArray();
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor rows = work.allocate(gradX.dtype(), places.length, gradX.columns());
            device.ops().gatherRows(rows, gradX, Inputs.indices(device, work, places));
            Tensor wide = work.allocate(DType.F32, rows.shape());
            device.ops().convert(wide, rows);
            device.ops()
                    .embeddingBackward(
                            gradient, wide, which(batch, gradient, work), Inputs.indices(device, work, order));
        }
    }

    /** The virtual token of each of the rows. */
    private IndexTensor which(BatchOnDevice batch, Tensor table, Memory work) {
        int tokens = (int) table.rows();
        int count = batch.host().virtualRows().length;
        return Inputs.indices(
                device, work, IntStream.range(0, count).map(i -> i % tokens).toArray());
    }
}
