package org.shardloom.kernels.collective.nccl;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.collective.nccl.Communicator.Move;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Sums over ranks, always in fp32. In fixed order every rank sends the others their parts as they are, in pieces, and adds what it gets
 * in rank order by a kernel of its own; else NCCL adds, in an order of its own, what has been gathered from the parts, in fp32, piece by
 * piece. How many pieces there are depends on nothing in which ranks may differ, such as whether one has anything to add.
 *
 * <p>Bytes sent per rank over W ranks, for n elements: reduce-scatter (W - 1) / W of n, of the operand's dtype in fixed order and of fp32
 * else; all-reduce twice that.
 */
final class Reductions {
    /** Parts of a piece begin at multiples of so many elements, so that kernels and NCCL find them aligned. */
    private static final long ALIGNMENT = 64;

    private final int rank;
    private final int size;
    private final boolean fixedOrder;
    private final Communicator communicator;
    private final CommunicationStream stream;
    private final Pieces pieces;

    Reductions(
            int rank,
            int size,
            boolean fixedOrder,
            Communicator communicator,
            CommunicationStream stream,
            Pieces pieces) {
        this.rank = rank;
        this.size = size;
        this.fixedOrder = fixedOrder;
        this.communicator = communicator;
        this.stream = stream;
        this.pieces = pieces;
    }

    /** sum: fp32 [n]; full: [size * n] or null for zeros. */
    void reduceScatter(Tensor sum, Tensor full, DType dtype, boolean accumulate) {
        long n = sum.elements();
        long step = step(fixedOrder ? dtype : DType.F32);
        for (long at = 0; at < n; at += step) {
            long count = Math.min(step, n - at);
            if (fixedOrder) {
                inOrder(sum, full, dtype, accumulate, at, count);
            } else {
                byNccl(sum, full, dtype, accumulate, at, count);
            }
        }
    }

    /** Elements of each rank that fit in a piece. */
    private long step(DType dtype) {
        long step = pieces.bytes() / size / dtype.bytes / ALIGNMENT * ALIGNMENT;
        if (step == 0) {
            throw new IllegalStateException(
                    "pieces of " + pieces.bytes() + " bytes are too small for " + size + " ranks");
        }
        return step;
    }

    private void inOrder(Tensor sum, Tensor full, DType dtype, boolean accumulate, long at, long count) {
        long n = sum.elements();
        long bytes = count * dtype.bytes;
        long parts = pieces.next();
        long zeros = full == null ? pieces.next() : 0;
        if (full == null) {
            stream.clear(zeros, bytes);
        }
        List<Move> moves = new ArrayList<>();
        for (int peer = 0; peer < size; peer++) {
            long own = full == null ? zeros : full.address() + (peer * n + at) * dtype.bytes;
            if (peer == rank) {
                stream.copy(parts + rank * bytes, own, bytes);
            } else {
                moves.add(new Move(true, peer, own, bytes));
                moves.add(new Move(false, peer, parts + peer * bytes, bytes));
            }
        }
        communicator.move(moves);
        stream.sumRanks(sum.address() + at * DType.F32.bytes, accumulate, parts, dtype, count, size, count);
    }

    private void byNccl(Tensor sum, Tensor full, DType dtype, boolean accumulate, long at, long count) {
        long n = sum.elements();
        long piece = pieces.next();
        if (full == null) {
            stream.clear(piece, size * count * DType.F32.bytes);
        } else {
            stream.convert(piece, DType.F32, count, full.address() + at * dtype.bytes, dtype, n, size, count);
        }
        long target = sum.address() + at * DType.F32.bytes;
        long own = piece + rank * count * DType.F32.bytes;
        communicator.reduceScatter(accumulate ? own : target, piece, count);
        if (accumulate) {
            stream.add(target, own, count);
        }
    }

    /** fp32 [n], in place. */
    void allReduce(Tensor tensor) {
        long n = tensor.elements();
        if (!fixedOrder) {
            if (n > 0) {
                communicator.allReduce(tensor.address(), n);
            }
            return;
        }
        long step = step(DType.F32) * size;
        for (long at = 0; at < n; at += step) {
            allReduceInOrder(tensor.address() + at * DType.F32.bytes, Math.min(step, n - at));
        }
    }

    /** Every rank adds its part, and gives it to the others. */
    private void allReduceInOrder(long address, long n) {
        long own = from(rank, n);
        long ownBytes = from(rank + 1, n) - own;
        long parts = pieces.next();
        stream.copy(parts + rank * ownBytes, address + own, ownBytes);
        List<Move> scatter = new ArrayList<>();
        List<Move> gather = new ArrayList<>();
        for (int peer = 0; peer < size; peer++) {
            if (peer != rank) {
                long part = from(peer, n);
                long bytes = from(peer + 1, n) - part;
                scatter.add(new Move(true, peer, address + part, bytes));
                scatter.add(new Move(false, peer, parts + peer * ownBytes, ownBytes));
                gather.add(new Move(true, peer, address + own, ownBytes));
                gather.add(new Move(false, peer, address + part, bytes));
            }
        }
        communicator.move(scatter);
        long count = ownBytes / DType.F32.bytes;
        stream.sumRanks(address + own, false, parts, DType.F32, count, size, count);
        communicator.move(gather);
    }

    /** Where the rank's part of n elements begins, in bytes. */
    private long from(int part, long n) {
        return n * part / size * DType.F32.bytes;
    }
}
