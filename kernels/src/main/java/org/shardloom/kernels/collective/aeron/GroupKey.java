package org.shardloom.kernels.collective.aeron;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * What the members of one meeting can compute and nobody else: HMAC-SHA256, keyed with the run's secret, over what every rank
 * offered. Each offer holds a nonce, so the values of another meeting are of no use in this one.
 */
final class GroupKey {
    /** Shortest secret accepted. */
    static final int MIN_SECRET_BYTES = 16;

    /** Length of a hello's proof. */
    static final int PROOF_BYTES = 32;

    private final byte[] key;

    GroupKey(byte[] secret, List<byte[]> offers) {
        checkSecret(secret);
        int bytes = offers.stream().mapToInt(offer -> 4 + offer.length).sum();
        ByteBuffer meeting = ByteBuffer.allocate(bytes);
        offers.forEach(offer -> meeting.putInt(offer.length).put(offer));
        key = mac(secret, "meeting", meeting.array());
    }

    static void checkSecret(byte[] secret) {
        if (secret.length < MIN_SECRET_BYTES) {
            throw new IllegalArgumentException(
                    "the group's secret: want at least " + MIN_SECRET_BYTES + " bytes, found " + secret.length);
        }
    }

    /** Aeron's session number of everything that the rank sends; no two ranks of a group share one. */
    int session(int sender) {
        return ByteBuffer.wrap(mac(key, "session", new byte[0])).getInt() + sender;
    }

    /** What the sender's first frame to the receiver must hold. */
    byte[] proof(int sender, int receiver) {
        return mac(key, "hello", pair(sender, receiver));
    }

    /** What every frame from the sender to the receiver carries. */
    long tag(int sender, int receiver) {
        return ByteBuffer.wrap(mac(key, "tag", pair(sender, receiver))).getLong();
    }

    private static byte[] pair(int sender, int receiver) {
        return ByteBuffer.allocate(8).putInt(sender).putInt(receiver).array();
    }

    private static byte[] mac(byte[] key, String label, byte[] data) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            mac.update(("shardloom aeron 1 " + label + "\0").getBytes(StandardCharsets.US_ASCII));
            return mac.doFinal(data);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("every Java runtime has HmacSHA256", e);
        }
    }
}
