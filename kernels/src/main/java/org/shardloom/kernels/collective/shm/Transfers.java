package org.shardloom.kernels.collective.shm;

import java.util.List;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.Tensor;

/** The operations that move bytes, as {@code Collectives} describes them. They wait; one thread. */
final class Transfers {
    private final Phases phases;
    private final Windows windows;
    private final SharedBlocks blocks;
    private final int rank;
    private final int size;

    Transfers(Phases phases, Windows windows, SharedBlocks blocks) {
        this.phases = phases;
        this.windows = windows;
        this.blocks = blocks;
        this.rank = phases.rank();
        this.size = phases.size();
    }

    void allGather(Tensor full, Tensor slice) {
        long bytes = slice.bytes();
        if (blocks.post(slice)) {
            for (int i = 0; i < size; i++) {
                int r = (rank + i) % size; // not all of them from the same rank at once
                long target = full.address() + r * bytes;
                if (target != slice.address()) {
                    NativeCpu.copy(target, blocks.address(r), bytes);
                }
            }
            phases.finish();
            return;
        }
        for (long from = 0, chunk = 0; from < bytes; from += Windows.HALF_BYTES, chunk++) {
            long count = Math.min(Windows.HALF_BYTES, bytes - from);
            NativeCpu.copy(windows.half(rank, chunk), slice.address() + from, count);
            phases.begin();
            for (int i = 0; i < size; i++) {
                int r = (rank + i) % size;
                NativeCpu.copy(full.address() + r * bytes + from, windows.half(r, chunk), count);
            }
            phases.done();
            phases.awaitPreviousDone();
        }
        phases.awaitDone();
    }

    void broadcast(Tensor tensor, int root) {
        for (long from = 0, chunk = 0; from < tensor.bytes(); from += Windows.HALF_BYTES, chunk++) {
            long count = Math.min(Windows.HALF_BYTES, tensor.bytes() - from);
            if (rank == root) {
                NativeCpu.copy(windows.half(rank, chunk), tensor.address() + from, count);
            }
            phases.begin();
            if (rank != root) {
                NativeCpu.copy(tensor.address() + from, windows.half(root, chunk), count);
            }
            phases.done();
            phases.awaitPreviousDone();
        }
        phases.awaitDone();
    }

    void exchange(List<Move> outgoing, List<Move> incoming) {
        long budget = Windows.HALF_BYTES / size;
        ByteRuns[] out = ByteRuns.byPeer(outgoing, size);
        ByteRuns[] in = ByteRuns.byPeer(incoming, size);
        long mine = 0;
        for (int r = 0; r < size; r++) {
            mine = Math.max(mine, Math.max(out[r].bytes(), in[r].bytes()));
        }
        phases.begin(mine);
        long most = 0;
        for (int r = 0; r < size; r++) {
            most = Math.max(most, phases.argument(r, 0));
        }
        phases.done();
        for (long from = 0, chunk = 0; from < most; from += budget, chunk++) {
            for (int r = 0; r < size; r++) {
                out[r].copyOut(from, budget, windows.half(rank, chunk) + r * budget);
            }
            phases.begin();
            for (int r = 0; r < size; r++) {
                in[r].copyIn(from, budget, windows.half(r, chunk) + rank * budget);
            }
            phases.done();
            phases.awaitPreviousDone();
        }
        phases.awaitDone();
    }
}
