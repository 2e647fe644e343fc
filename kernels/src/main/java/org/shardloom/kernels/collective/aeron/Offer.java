package org.shardloom.kernels.collective.aeron;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import org.shardloom.kernels.collective.CollectiveException;

/**
 * What a rank tells the others through the rendezvous.
 *
 * <pre>
 *   0    format version
 *   1    nonce
 *   17   port
 *   21   host address, UTF-8
 * </pre>
 *
 * @param host where this rank listens
 * @param port where this rank listens
 */
record Offer(String host, int port) {
    private static final byte VERSION = 1;
    private static final int NONCE_BYTES = 16;

    /** With a fresh nonce. */
    byte[] encode() {
        byte[] nonce = new byte[NONCE_BYTES];
        new SecureRandom().nextBytes(nonce);
        byte[] name = host.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(1 + NONCE_BYTES + 4 + name.length)
                .put(VERSION)
                .put(nonce)
                .putInt(port)
                .put(name)
                .array();
    }

    static Offer decode(byte[] bytes, int rank) {
        try {
            ByteBuffer in = ByteBuffer.wrap(bytes);
            if (in.get() != VERSION) {
                throw new CollectiveException("rank " + rank + " speaks another version of this protocol");
            }
            in.position(1 + NONCE_BYTES);
            int port = in.getInt();
            return new Offer(StandardCharsets.UTF_8.decode(in).toString(), port);
        } catch (BufferUnderflowException | IllegalArgumentException e) {
            throw new CollectiveException("rank " + rank + " offered " + bytes.length + " bytes that mean nothing", e);
        }
    }
}
