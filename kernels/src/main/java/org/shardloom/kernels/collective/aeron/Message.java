package org.shardloom.kernels.collective.aeron;

import java.util.List;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Where one message between two ranks comes from or goes to: tensors one after the other, seen as one run of bytes, and how far it
 * has got.
 */
final class Message {
    private final List<Tensor> parts;
    private final long bytes;
    private long position;
    private int part;
    private long within;
    private boolean nothing;

    Message(List<Tensor> parts) {
        this.parts = parts;
        this.bytes = parts.stream().mapToLong(Tensor::bytes).sum();
    }

    static Message of(Tensor tensor) {
        return new Message(List.of(tensor));
    }

    /** A message of no bytes: its coming is what it says. */
    static Message signal() {
        return new Message(List.of());
    }

    /** Says that the sender has no contribution. */
    static Message none() {
        Message message = signal();
        message.nothing = true;
        return message;
    }

    long bytes() {
        return bytes;
    }

    long position() {
        return position;
    }

    long remaining() {
        return bytes - position;
    }

    boolean isNothing() {
        return nothing;
    }

    /** The sender had no contribution: the destination stays as it was. */
    void becomeNothing() {
        nothing = true;
    }

    /** Copies the next bytes to the address. */
    void copyOut(long address, long count) {
        move(address, count, true);
    }

    /** Fills the next bytes from the address. */
    void copyIn(long address, long count) {
        move(address, count, false);
    }

    private void move(long address, long count, boolean out) {
        long moved = 0;
        while (moved < count) {
            Tensor tensor = parts.get(part);
            long length = Math.min(count - moved, tensor.bytes() - within);
            long here = tensor.address() + within;
            if (length > 0) {
                NativeCpu.copy(out ? address + moved : here, out ? here : address + moved, length);
            }
            moved += length;
            within += length;
            if (within == tensor.bytes()) {
                part++;
                within = 0;
            }
        }
        position += count;
    }
}
