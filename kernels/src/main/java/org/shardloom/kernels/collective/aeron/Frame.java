package org.shardloom.kernels.collective.aeron;

import org.agrona.DirectBuffer;
import org.agrona.MutableDirectBuffer;

/**
 * The header of everything on a link; one frame is one Aeron fragment. Little-endian.
 *
 * <pre>
 *   0    magic, with the format's version
 *   4    kind
 *   6    rank of the sender
 *   8    tag of sender and receiver (GroupKey)
 *   16   number of the step that the frame belongs to
 *   20   hash of the operation's name
 *   24   where in the message the payload belongs
 *   32   bytes in the whole message
 *   40   payload
 * </pre>
 */
final class Frame {
    static final int BYTES = 40;

    /** Opens a link; the payload is the proof. */
    static final short HELLO = 1;

    /** A piece of a message; a message of no bytes is one frame. */
    static final short DATA = 2;

    /** Instead of a message: the sender has nothing to contribute. */
    static final short NOTHING = 3;

    /** The sender gave the group up; the payload says why. */
    static final short ABORT = 4;

    /** The last frame of a link: the sender closes the group in good order. */
    static final short BYE = 5;

    private static final int MAGIC = 0x31414C53;

    private Frame() {}

    static void write(MutableDirectBuffer buffer, int at, short kind, int sender, long tag) {
        buffer.putInt(at, MAGIC);
        buffer.putShort(at + 4, kind);
        buffer.putShort(at + 6, (short) sender);
        buffer.putLong(at + 8, tag);
        place(buffer, at, 0, 0, 0, 0);
    }

    static void place(MutableDirectBuffer buffer, int at, int step, int name, long offset, long total) {
        buffer.putInt(at + 16, step);
        buffer.putInt(at + 20, name);
        buffer.putLong(at + 24, offset);
        buffer.putLong(at + 32, total);
    }

    /** Whether the fragment is a frame of this sender to this receiver. */
    static boolean isFrom(DirectBuffer buffer, int at, int length, int sender, long tag) {
        return length >= BYTES
                && buffer.getInt(at) == MAGIC
                && buffer.getShort(at + 6) == (short) sender
                && buffer.getLong(at + 8) == tag;
    }

    static short kind(DirectBuffer buffer, int at) {
        return buffer.getShort(at + 4);
    }

    static int step(DirectBuffer buffer, int at) {
        return buffer.getInt(at + 16);
    }

    static int name(DirectBuffer buffer, int at) {
        return buffer.getInt(at + 20);
    }

    static long offset(DirectBuffer buffer, int at) {
        return buffer.getLong(at + 24);
    }

    static long total(DirectBuffer buffer, int at) {
        return buffer.getLong(at + 32);
    }
}
