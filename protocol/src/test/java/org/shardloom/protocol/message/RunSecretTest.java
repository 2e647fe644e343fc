package org.shardloom.protocol.message;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(10)
class RunSecretTest {
    @Test
    void theHexadecimalFormGivesTheSameSecret() {
        RunSecret secret = RunSecret.random();
        RunSecret again = RunSecret.of(" " + secret.hex() + "\n");
        assertEquals(secret.proof("register"), again.proof("register"));
        assertArrayEquals(secret.bytes(), again.bytes());
        assertEquals(64, secret.hex().length());
        assertNotEquals(secret.hex(), RunSecret.random().hex());
    }

    @Test
    void aProofHoldsForItsSecretAndPurposeOnly() {
        RunSecret secret = RunSecret.random();
        String proof = secret.proof("register");
        assertTrue(secret.verifies(proof, "register"));
        assertFalse(secret.verifies(proof, "control"));
        assertFalse(RunSecret.random().verifies(proof, "register"));
        assertFalse(secret.verifies(null, "register"));
        assertFalse(secret.verifies("", "register"));
        assertFalse(secret.verifies(secret.hex(), "register"));
    }

    @Test
    void theProofIsHmacSha256() {
        // RFC 4231, test case 1.
        RunSecret secret = RunSecret.of("0b".repeat(20));
        assertEquals("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", secret.proof("Hi There"));
    }

    @Test
    void shortOrBrokenSecretsAreRefusedAndNoneIsPrinted() {
        assertThrows(IllegalArgumentException.class, () -> RunSecret.of("00".repeat(15)));
        assertThrows(IllegalArgumentException.class, () -> RunSecret.of("zz".repeat(20)));
        assertThrows(IllegalArgumentException.class, () -> RunSecret.of("123"));
        RunSecret secret = RunSecret.random();
        assertFalse(secret.toString().contains(secret.hex()));
        secret.bytes()[0]++;
        assertTrue(secret.verifies(secret.proof("p"), "p"));
    }
}
