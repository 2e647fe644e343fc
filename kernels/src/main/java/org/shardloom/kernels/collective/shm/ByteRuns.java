package org.shardloom.kernels.collective.shm;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.Tensor;

/** Tensors that go to, or come from, one peer, seen as one run of bytes. */
final class ByteRuns {
    private final List<Tensor> tensors = new ArrayList<>();
    private long bytes;

    static ByteRuns[] byPeer(List<Move> moves, int size) {
        ByteRuns[] runs = new ByteRuns[size];
        for (int r = 0; r < size; r++) {
            runs[r] = new ByteRuns();
        }
        for (Move move : moves) {
            runs[move.peer()].tensors.add(move.tensor());
            runs[move.peer()].bytes += move.tensor().bytes();
        }
        return runs;
    }

    long bytes() {
        return bytes;
    }

    /** Copies bytes [from, from + count), as far as there are any, to the address. */
    void copyOut(long from, long count, long address) {
        each(from, count, (tensorAddress, offset, length) -> NativeCpu.copy(address + offset, tensorAddress, length));
    }

    /** Fills bytes [from, from + count), as far as there are any, from the address. */
    void copyIn(long from, long count, long address) {
        each(from, count, (tensorAddress, offset, length) -> NativeCpu.copy(tensorAddress, address + offset, length));
    }

    private void each(long from, long count, Piece piece) {
        long start = 0;
        long to = Math.min(from + count, bytes);
        for (Tensor tensor : tensors) {
            long end = start + tensor.bytes();
            long first = Math.max(from, start);
            long last = Math.min(to, end);
            if (first < last) {
                piece.copy(tensor.address() + first - start, first - from, last - first);
            }
            start = end;
        }
    }

    private interface Piece {
        void copy(long tensorAddress, long offset, long length);
    }
}
