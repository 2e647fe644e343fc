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
 *   21   largest packet from other hosts, bytes
 *   25   largest packet from the same host address, bytes
 *   29   host address, UTF-8
 * </pre>
 *
 * @param host where this rank listens
 * @param port where this rank listens
 * @param mtuBytes largest packet that this rank takes from another host
 * @param localMtuBytes largest packet that this rank takes from a rank with the same host address
 */
record Offer(String host, int port, int mtuBytes, int localMtuBytes) {
    private static final byte VERSION = 2;
    private static final int NONCE_BYTES = 16;

    Offer {
        for (int mtu : new int[] {mtuBytes, localMtuBytes}) {
            if (mtu < 1024 || mtu > 65504 || mtu % 32 != 0) {
                throw new IllegalArgumentException(
                        "a packet is a multiple of 32 bytes from 1024 to 65504, found " + mtu);
            }
        }
    }

    /** With a fresh nonce. */
    byte[] encode() {
        byte[] nonce = new byte[NONCE_BYTES];
        new SecureRandom().nextBytes(nonce);
        byte[] name = host.getBytes(StandardCharsets.UTF_8);
        return ByteBuffer.allocate(1 + NONCE_BYTES + 12 + name.length)
                .put(VERSION)
                .put(nonce)
                .putInt(port)
                .putInt(mtuBytes)
                .putInt(localMtuBytes)
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
            int mtu = in.getInt();
            int localMtu = in.getInt();
            return new Offer(StandardCharsets.UTF_8.decode(in).toString(), port, mtu, localMtu);
        } catch (BufferUnderflowException | IllegalArgumentException e) {
            throw new CollectiveException("rank " + rank + " offered " + bytes.length + " bytes that mean nothing", e);
        }
    }

    /** Packets of a link between the two ranks, in either direction. */
    int mtuWith(Offer other) {
        return host.equals(other.host)
                ? Math.min(localMtuBytes, other.localMtuBytes)
                : Math.min(mtuBytes, other.mtuBytes);
    }
}
