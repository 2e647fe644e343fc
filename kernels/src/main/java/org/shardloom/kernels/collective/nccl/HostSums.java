package org.shardloom.kernels.collective.nccl;

import java.nio.ByteBuffer;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.tensor.Tensor;

/** Numbers of the host that go through the device's memory and NCCL to the other ranks' hosts. */
final class HostSums {
    private static final long ALIGNMENT = 16;

    private final int rank;
    private final int size;
    private final Communicator communicator;
    private final CommunicationStream stream;
    private final Pieces pieces;
    private final Memory pinned;
    private Tensor buffer;

    HostSums(int rank, int size, Communicator communicator, CommunicationStream stream, Pieces pieces, Memory pinned) {
        this.rank = rank;
        this.size = size;
        this.communicator = communicator;
        this.stream = stream;
        this.pieces = pieces;
        this.pinned = pinned;
    }

    /** Most values that go at once. */
    int most() {
        return (int) Math.min(1 << 20, pieces.bytes() / size / Double.BYTES);
    }

    /** Issues something that ends when all ranks have come to it. */
    void meet() {
        long piece = pieces.next();
        communicator.allGather(piece, piece + rank * ALIGNMENT, ALIGNMENT);
    }

    /** Issues the gathering of every rank's values. */
    void issue(double[] values) {
        long bytes = (long) values.length * Double.BYTES;
        buffer = pinned.atLeast(buffer, bytes * size);
        ByteBuffer view = HostBytes.view(buffer.address(), bytes);
        for (double value : values) {
            view.putDouble(value);
        }
        long piece = pieces.next();
        stream.toDevice(piece + rank * bytes, buffer.address(), bytes);
        communicator.allGather(piece, piece + rank * bytes, bytes);
        stream.toHost(buffer.address(), piece, bytes * size);
    }

    /** What has been gathered, added in rank order. */
    double[] sums(int count) {
        ByteBuffer view = HostBytes.view(buffer.address(), (long) count * size * Double.BYTES);
        double[] sums = new double[count];
        for (int r = 0; r < size; r++) {
            for (int i = 0; i < count; i++) {
                sums[i] += view.getDouble();
            }
        }
        return sums;
    }
}
