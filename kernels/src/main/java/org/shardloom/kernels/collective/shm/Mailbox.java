package org.shardloom.kernels.collective.shm;

import java.nio.ByteBuffer;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;

/**
 * The control page of one rank, in shared memory. The owner posts phases by number; the others wait for a number.
 *
 * <pre>
 *   0    posted: number of the last phase whose arguments and data are in place
 *   64   done: number of the last phase that the owner has finished reading from its peers
 *   128  aborted: not 0 once the owner gave the group up
 *   256  arguments: 4 entries of 4 longs, entry = phase mod 4
 * </pre>
 */
final class Mailbox {
    static final int BYTES = 4096;
    private static final int DONE = 64;
    private static final int ABORTED = 128;
    private static final int ARGUMENTS = 256;
    private final long address;
    private final ByteBuffer page;

    Mailbox(long address) {
        this.address = address;
        this.page = HostBytes.view(address, BYTES);
    }

    void post(int phase, long... arguments) {
        for (int i = 0; i < arguments.length; i++) {
            page.putLong(ARGUMENTS + (phase & 3) * 32 + i * 8, arguments[i]);
        }
        NativeCpu.wordStore(address, phase);
    }

    long argument(int phase, int index) {
        return page.getLong(ARGUMENTS + (phase & 3) * 32 + index * 8);
    }

    void done(int phase) {
        NativeCpu.wordStore(address + DONE, phase);
    }

    void abort() {
        NativeCpu.wordStore(address + ABORTED, 1);
    }

    /** Waits for this mailbox's owner to post the phase; {@code own} is the waiting rank's mailbox, {@code who} names the owner. */
    void awaitPosted(int phase, Mailbox own, long timeoutNanos, String who) {
        await(address, phase, own, timeoutNanos, who);
    }

    void awaitDone(int phase, Mailbox own, long timeoutNanos, String who) {
        await(address + DONE, phase, own, timeoutNanos, who);
    }

    private static void await(long word, int phase, Mailbox own, long timeoutNanos, String who) {
        switch (NativeCpu.wordAwait(word, phase, own.address + ABORTED, timeoutNanos)) {
            case 0 -> {}
            case 1 -> throw new CollectiveException("aborted while waiting for " + who);
            default -> throw new CollectiveException(
                    who + " did not answer within " + timeoutNanos / 1_000_000_000L + " s");
        }
    }
}
