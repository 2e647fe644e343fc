package org.shardloom.kernels.collective.shm;

import java.nio.DoubleBuffer;
import java.util.Arrays;
import java.util.function.IntToLongFunction;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.AddressList;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * The operations that add, as {@code Collectives} describes them: always one rank after the other in rank order. They wait; one
 * thread.
 */
final class Sums {
    private final Phases phases;
    private final Windows windows;
    private final SharedBlocks blocks;
    private final int rank;
    private final int size;

    Sums(Phases phases, Windows windows, SharedBlocks blocks) {
        this.phases = phases;
        this.windows = windows;
        this.blocks = blocks;
        this.rank = phases.rank();
        this.size = phases.size();
    }

    void reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        long elements = sum.elements();
        if (blocks.post(full)) {
            long offset = rank * elements * dtype.bytes;
            add(
                    sum.address(),
                    accumulate,
                    contributions(r -> blocks.address(r) == 0 ? 0 : blocks.address(r) + offset),
                    dtype,
                    elements);
            phases.finish();
            return;
        }
        long chunkElements = Windows.HALF_BYTES / size / dtype.bytes;
        for (long from = 0, chunk = 0; from < elements; from += chunkElements, chunk++) {
            long count = Math.min(chunkElements, elements - from);
            for (int r = 0; full != null && r < size; r++) {
                NativeCpu.copy(
                        windows.half(rank, chunk) + r * count * dtype.bytes,
                        full.address() + (r * elements + from) * dtype.bytes,
                        count * dtype.bytes);
            }
            phases.begin(full == null ? 0 : 1);
            long half = chunk;
            long offset = rank * count * dtype.bytes;
            add(
                    sum.address() + from * 4,
                    accumulate,
                    contributions(r -> phases.argument(r, 0) == 0 ? 0 : windows.half(r, half) + offset),
                    dtype,
                    count);
            phases.done();
            phases.awaitPreviousDone();
        }
        phases.awaitDone();
    }

    /** Addresses of what the ranks contribute, in rank order, without those that are 0. */
    private long[] contributions(IntToLongFunction address) {
        return IntStream.range(0, size)
                .mapToLong(address)
                .filter(source -> source != 0)
                .toArray();
    }

    /** out (+)= the sources, one after the other; out may be one of them. */
    private static void add(long out, boolean accumulate, long[] sources, DType dtype, long elements) {
        if (sources.length == 0) {
            if (!accumulate) {
                NativeCpu.fill(out, 0, elements * 4);
            }
            return;
        }
        try (AddressList list = new AddressList(sources)) {
            NativeCpu.sumSources(out, accumulate, list.address(), sources.length, dtype.code, elements);
        }
    }

    void allReduce(Tensor tensor) {
        if (blocks.post(tensor)) {
            allReduceInPlace(tensor);
            return;
        }
        long chunkElements = Windows.HALF_BYTES / 4;
        for (long from = 0; from < tensor.elements(); from += chunkElements) {
            long count = Math.min(chunkElements, tensor.elements() - from);
            Pieces pieces = new Pieces(count);
            NativeCpu.copy(windows.half(rank, 0), tensor.address() + from * 4, count * 4);
            phases.begin();
            long[] sources = contributions(r -> windows.half(r, 0) + pieces.from(rank) * 4);
            add(windows.half(rank, 1), false, sources, DType.F32, pieces.count(rank));
            phases.done();
            phases.begin();
            for (int r = 0; r < size; r++) {
                NativeCpu.copy(tensor.address() + (from + pieces.from(r)) * 4, windows.half(r, 1), pieces.count(r) * 4);
            }
            phases.finish();
        }
        phases.awaitDone();
    }

    /** Of every rank's piece r only rank r ever reads and writes anything until the sums are posted, so they replace the operands. */
    private void allReduceInPlace(Tensor tensor) {
        Pieces pieces = new Pieces(tensor.elements());
        long[] operands = IntStream.range(0, size).mapToLong(blocks::address).toArray();
        long own = pieces.from(rank) * 4;
        long[] sources = Arrays.stream(operands).map(operand -> operand + own).toArray();
        add(tensor.address() + own, false, sources, DType.F32, pieces.count(rank));
        phases.done();
        phases.begin();
        for (int i = 1; i < size; i++) {
            int r = (rank + i) % size;
            long offset = pieces.from(r) * 4;
            NativeCpu.copy(tensor.address() + offset, operands[r] + offset, pieces.count(r) * 4);
        }
        phases.finish();
    }

    /** How elements are dealt to the ranks: as evenly as can be, the last ranks may have less or none. */
    private final class Pieces {
        private final long elements;
        private final long most;

        Pieces(long elements) {
            this.elements = elements;
            this.most = (elements + size - 1) / size;
        }

        long from(int r) {
            return Math.min(most * r, elements);
        }

        long count(int r) {
            return Math.min(most, elements - from(r));
        }
    }

    /** The sum over ranks of each value. */
    double[] sum(double... values) {
        double[] totals = new double[values.length];
        doubles(rank, values.length).put(values);
        phases.begin();
        for (int r = 0; r < size; r++) {
            DoubleBuffer theirs = doubles(r, values.length);
            for (int i = 0; i < totals.length; i++) {
                totals[i] += theirs.get(i);
            }
        }
        phases.finish();
        return totals;
    }

    private DoubleBuffer doubles(int r, int count) {
        return HostBytes.view(windows.half(r, 0), count * Double.BYTES).asDoubleBuffer();
    }
}
