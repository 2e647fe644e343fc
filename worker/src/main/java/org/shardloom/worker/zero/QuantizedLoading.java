package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorSource;

/**
 * Quantises a rank's slices of a model's matrices while they are read, a piece at a time, so that they never exist in 16 bits. What a value
 * becomes is the same for every world size: blocks do not straddle slices, and the mean of a matrix's scales, which double quantisation
 * subtracts from them, is taken over all ranks.
 */
final class QuantizedLoading {
    /** Elements quantised at a time. */
    private static final int PIECE = 1 << 20;

    private final QuantizedParameters parameters;
    private final ShardPlan plan;
    private final Collectives group;
    private final TensorSource files;
    private final Device device;

    /**
     * Loads from the files.
     *
     * @param device whose own memory the slices are in; null where it is the host's
     */
    QuantizedLoading(
            QuantizedParameters parameters, ShardPlan plan, Collectives group, TensorSource files, Device device) {
        this.parameters = parameters;
        this.plan = plan;
        this.group = group;
        this.files = files;
        this.device = device;
    }

    /** Fills this rank's slice of the unit. Every rank calls it for the same units in the same order. */
    void load(int index, UnitSpec unit) throws IOException {
        Tensor slice = parameters.slice(index);
        if (device == null) {
            load(index, unit, slice);
            return;
        }
        try (HostBlocks memory = new HostBlocks()) {
            long staged = memory.allocate(slice.bytes());
            load(index, unit, new Tensor(staged, slice.dtype(), slice.elements()));
            device.write(slice, HostBytes.view(staged, slice.bytes()));
        }
    }

    /** Fills the slice, in the host's memory. */
    private void load(int index, UnitSpec unit, Tensor slice) throws IOException {
        Nf4Layout layout = parameters.layout(index);
        Interval owned =
                new Interval(plan.sliceElements(index) * group.rank(), plan.sliceElements(index) * (group.rank() + 1L));
        NativeCpu.fill(slice.address(), 0, slice.bytes());
        List<ParameterSpec> matrices = new ArrayList<>(unit.parameters().values());
        double[] sums = new double[matrices.size()];
        try (HostBlocks memory = new HostBlocks()) {
            long scales = layout.doubled() ? memory.allocate(layout.elements() / QuantizedOps.BLOCK * 4) : 0;
            long piece = memory.allocate(PIECE * 4L);
            for (int m = 0; m < matrices.size(); m++) {
                ParameterSpec matrix = matrices.get(m);
                Interval common = common(owned, matrix);
                for (long at = common.from(); at < common.to(); at += PIECE) {
                    long count = Math.min(PIECE, common.to() - at);
                    read(matrix, at, count, piece);
                    long from = at - owned.from();
                    Tensor codes = layout.codes(slice, from, count);
                    long absmax = layout.doubled()
                            ? scales + from / QuantizedOps.BLOCK * 4
                            : layout.absmax(slice, from, count).address();
                    NativeCpu.nf4Quantize(codes.address(), absmax, piece, count);
                }
                if (layout.doubled()) {
                    sums[m] = sum(scales, common, owned);
                }
            }
            if (layout.doubled()) {
                sums = group.sum(sums);
                for (int m = 0; m < matrices.size(); m++) {
                    ParameterSpec matrix = matrices.get(m);
                    float mean = (float) (sums[m] / blocks(matrix.elements()));
                    parameters.offsets(index)[m] = mean;
                    Interval common = common(owned, matrix);
                    if (!common.isEmpty()) {
                        long from = common.from() - owned.from();
                        NativeCpu.absmaxQuantize(
                                layout.absmaxCodes(slice, from, common.length()).address(),
                                layout.nested(slice, from, common.length()).address(),
                                scales + from / QuantizedOps.BLOCK * 4,
                                mean,
                                blocks(common.length()));
                    }
                }
            }
        }
    }

    private static Interval common(Interval owned, ParameterSpec matrix) {
        return owned.intersect(new Interval(matrix.offset(), matrix.offset() + matrix.elements()));
    }

    private static long blocks(long elements) {
        return (elements + QuantizedOps.BLOCK - 1) / QuantizedOps.BLOCK;
    }

    private static double sum(long scales, Interval common, Interval owned) {
        double sum = 0;
        if (!common.isEmpty()) {
            long from = (common.from() - owned.from()) / QuantizedOps.BLOCK;
            FloatBuffer values = HostBytes.view(scales + from * 4, blocks(common.length()) * 4)
                    .asFloatBuffer();
            while (values.hasRemaining()) {
                sum += values.get();
            }
        }
        return sum;
    }

    /** Consecutive elements of the matrix, whatever tensors of the files they are in. */
    private void read(ParameterSpec matrix, long at, long count, long to) throws IOException {
        for (ParameterSpec.Source s : matrix.sources()) {
            long start = matrix.offset() + s.firstRow() * matrix.columns();
            Interval wanted =
                    new Interval(at, at + count).intersect(new Interval(start, start + s.rows() * matrix.columns()));
            if (!wanted.isEmpty()) {
                FloatBuffer floats = HostBytes.view(to + (wanted.from() - at) * 4, wanted.length() * 4)
                        .asFloatBuffer();
                files.read(s.name(), wanted.from() - start, floats);
            }
        }
    }
}
