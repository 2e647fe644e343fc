package org.shardloom.worker.model;

import java.util.List;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Final norm, output head and loss. Only rows with a target are computed, in chunks of tokens, so that logits for all tokens never
 * exist; the gradient of a chunk is taken at once, while its logits are there.
 */
final class DecoderHead {
    /** Bytes of fp32 logits that may exist at a time, between the least and the most rows. */
    private static final long CHUNK_BYTES = 128L << 20;
    /** Fewer rows would read the weights, and read and write their gradients, too often. */
    private static final long LEAST_ROWS = 256;
    /** More rows gain nothing. */
    private static final long MOST_ROWS = 512;

    private final DecoderConfig config;
    private final Device device;
    private final Ops ops;
    private final Norm norm;

    DecoderHead(DecoderConfig config, Device device) {
        this.config = config;
        this.device = device;
        this.ops = device.ops();
        this.norm = new Norm(config, device);
    }

    /** Rows whose logits are computed at a time. */
    static long chunkRows(long vocabulary) {
        return Math.max(LEAST_ROWS, Math.min(MOST_ROWS, CHUNK_BYTES / (4L * vocabulary) / 32 * 32));
    }

    /**
     * Where gradients go.
     *
     * @param block of what is trained of the head's own block, overwritten
     * @param output of the output weight; null where it is frozen
     * @param accumulate add to {@code output} rather than overwrite it
     * @param scale of all gradients: loss scale / divisor of the loss
     * @param pass is told which pass what follows belongs to
     */
    record Gradients(BlockView block, Tensor output, boolean accumulate, float scale, PassListener pass) {}

    /**
     * Losses of the batch's targets, in nats.
     *
     * @param gradients null for no backward pass
     * @param x [T, H]; replaced by the scaled gradient with respect to it where there is a backward pass
     * @param kept memory of the losses
     * @return fp32 [targets], issued; null where there are none
     */
    Tensor losses(BlockView block, Tensor output, Gradients gradients, BatchOnDevice batch, Tensor x, Memory kept) {
        long rows = batch.targetRows().count();
        boolean backward = gradients != null;
        if (rows == 0) {
            if (backward) {
                gradients.pass.backward();
                ops.zero(x);
                zeroGradients(gradients);
            }
            return null;
        }
        Tensor losses = kept.allocate(DType.F32, rows);
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            DType type = x.dtype();
            Tensor picked = work.allocate(type, rows, config.hidden());
            Tensor normed = work.allocate(type, rows, config.hidden());
            Tensor statistics = norm.statistics(work, rows);
            ops.gatherRows(picked, x, batch.targetRows());
            norm.forward(block, "norm", normed, statistics, picked);
            long most = Math.min(rows, chunkRows(config.vocabulary()));
            Tensor logits = work.allocate(DType.F32, most, config.vocabulary());
            Tensor gradLogits = backward ? work.allocate(type, most, config.vocabulary()) : null;
            Tensor gradNormed = backward ? work.allocate(type, rows, config.hidden()) : null;
            for (long from = 0; from < rows; from += most) {
                long count = Math.min(most, rows - from);
                Tensor part = logits.slice(0, count);
                IndexTensor targets = batch.targets().slice((int) from, (int) count);
                if (backward) {
                    gradients.pass.forward();
                }
                ops.linear(part, normed.slice(from, count), output);
                Tensor gradPart = backward ? gradLogits.slice(0, count) : null;
                ops.softmaxCrossEntropy(
                        losses.slice(from, count), gradPart, part, targets, backward ? gradients.scale : 1);
                if (backward) {
                    gradients.pass.backward();
                    if (gradients.output != null) {
                        boolean accumulate = gradients.accumulate || from > 0;
                        ops.linearBackwardWeight(gradients.output, gradPart, normed.slice(from, count), accumulate);
                    }
                    ops.linearBackwardInput(gradNormed.slice(from, count), gradPart, output, false);
                }
            }
            if (backward) {
                norm.backward(block, gradients.block, "norm", gradNormed, gradNormed, picked, statistics);
                ops.zero(x);
                ops.scatterRows(x, gradNormed, batch.targetRows());
            }
        }
        return losses;
    }

    private void zeroGradients(Gradients gradients) {
        for (String name : List.of("norm.weight", "norm.bias")) {
            Tensor gradient = gradients.block.find(name);
            if (gradient != null) {
                ops.zero(gradient);
            }
        }
        if (gradients.output != null && !gradients.accumulate) {
            ops.zero(gradients.output);
        }
    }

    /** fp32 logits of the given rows of x, in memory of the scope. */
    Tensor logits(BlockView block, Tensor output, Tensor x, IndexTensor rows, Memory memory) {
        Tensor out = memory.allocate(DType.F32, rows.count(), config.vocabulary());
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor picked = work.allocate(x.dtype(), rows.count(), config.hidden());
            Tensor normed = work.allocate(x.dtype(), rows.count(), config.hidden());
            Tensor statistics = norm.statistics(work, rows.count());
            ops.gatherRows(picked, x, rows);
            norm.forward(block, "norm", normed, statistics, picked);
            ops.linear(out, normed, output);
        }
        return out;
    }
}
