package org.shardloom.protocol.message;

import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.HexFormat;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The secret that the members of a run share: who cannot prove that he knows it is refused. */
public final class RunSecret {
    /** Environment variable that carries the secret to worker processes. */
    public static final String VARIABLE = "SHARDLOOM_SECRET";

    private final byte[] key;

    private RunSecret(byte[] key) {
        this.key = key;
    }

    /** A new random secret of 256 bits. */
    public static RunSecret random() {
        byte[] key = new byte[32];
        new SecureRandom().nextBytes(key);
        return new RunSecret(key);
    }

    /**
     * From its hexadecimal form.
     *
     * @throws IllegalArgumentException when it is not one
     */
    public static RunSecret of(String hex) {
        byte[] key = HexFormat.of().parseHex(hex.strip());
        if (key.length < 16) {
            throw new IllegalArgumentException("the run's secret has " + key.length + " bytes; at least 16 are needed");
        }
        return new RunSecret(key);
    }

    /** Hexadecimal form. */
    public String hex() {
        return HexFormat.of().formatHex(key);
    }

    /** The key itself, for transports that authenticate with it. */
    public byte[] bytes() {
        return key.clone();
    }

    /** HMAC-SHA256 of the purpose. */
    public String proof(String purpose) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return HexFormat.of().formatHex(mac.doFinal(purpose.getBytes(StandardCharsets.UTF_8)));
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("HmacSHA256 is part of every JDK", e);
        }
    }

    /** Whether the proof is of this secret; takes the same time for every wrong one. */
    public boolean verifies(String proof, String purpose) {
        return proof != null
                && MessageDigest.isEqual(
                        proof.getBytes(StandardCharsets.UTF_8), proof(purpose).getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public String toString() {
        return "RunSecret[hidden]";
    }
}
