package org.shardloom.worker.zero;

import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.UnitSpec;

/**
 * Where codes and scales lie in a rank's slice of a quantised unit, which is kept as fp32 words: codes, then either fp32 scales of 64 values
 * each, or their codes and the fp32 scales of 256 of them.
 *
 * @param elements of the slice, a multiple of {@link UnitSpec#QUANTIZED_ALIGNMENT}
 * @param doubled whether scales are quantised, too
 */
record Nf4Layout(long elements, boolean doubled) {
    Nf4Layout {
        if (elements % UnitSpec.QUANTIZED_ALIGNMENT != 0) {
            throw new IllegalArgumentException("a quantised slice of " + elements + " elements");
        }
    }

    /** Null for a unit that is not quantised. */
    static Nf4Layout of(UnitSpec unit, long sliceElements) {
        return unit.quantization() == Quantization.NONE
                ? null
                : new Nf4Layout(sliceElements, unit.quantization() == Quantization.NF4_DOUBLE);
    }

    private long codeWords() {
        return elements / 8;
    }

    private long blocks() {
        return elements / QuantizedOps.BLOCK;
    }

    /** fp32 words of a slice. */
    long words() {
        return codeWords() + (doubled ? blocks() / 4 + blocks() / QuantizedOps.SCALES_BLOCK : blocks());
    }

    /** Codes of the elements from that one on. */
    Tensor codes(Tensor slice, long from, long count) {
        return new Tensor(slice.address() + from / 2, DType.F32, (count + 7) / 8);
    }

    /** fp32 scales of the elements from that one on; where they are not quantised. */
    Tensor absmax(Tensor slice, long from, long count) {
        return new Tensor(
                slice.address() + codeWords() * 4 + from / QuantizedOps.BLOCK * 4,
                DType.F32,
                (count + QuantizedOps.BLOCK - 1) / QuantizedOps.BLOCK);
    }

    /** Codes of the scales of the elements from that one on. */
    Tensor absmaxCodes(Tensor slice, long from, long count) {
        long scales = (count + QuantizedOps.BLOCK - 1) / QuantizedOps.BLOCK;
        return new Tensor(slice.address() + codeWords() * 4 + from / QuantizedOps.BLOCK, DType.F32, (scales + 3) / 4);
    }

    /** fp32 scales of the scales of the elements from that one on, a multiple of the alignment. */
    Tensor nested(Tensor slice, long from, long count) {
        return new Tensor(
                slice.address() + codeWords() * 4 + blocks() + from / UnitSpec.QUANTIZED_ALIGNMENT * 4,
                DType.F32,
                (count + UnitSpec.QUANTIZED_ALIGNMENT - 1) / UnitSpec.QUANTIZED_ALIGNMENT);
    }
}
