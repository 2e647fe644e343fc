package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class GpusTest {
    @Test
    void sizesAndCardsAreUnderstood() {
        Gpus sized = Gpus.parse("4x24GiB");
        assertEquals(4, sized.count());
        assertEquals(24L << 30, sized.memoryBytes());
        assertEquals("rtx3090", sized.card().key(), "the slowest card of that size");
        assertFalse(sized.named());
        assertEquals(24_000_000_000L, Gpus.parse("24GB").memoryBytes());
        assertEquals(0, Gpus.parse("24GB").count());
        Gpus named = Gpus.parse("8xA100-80GB");
        assertEquals(8, named.count());
        assertEquals(80L << 30, named.memoryBytes());
        assertTrue(named.named());
        assertEquals("h200-141gb", Gpus.parse("1x900gib").card().key(), "nothing larger is known");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"", "4", "4x", "0x24GiB", "x24GiB", "-1x24GiB", "4x24", "4x0GiB", "4xbanana", "99999x24GiB"})
    void whatIsNotUnderstoodIsSaid(String text) {
        String message = assertThrows(IllegalArgumentException.class, () -> Gpus.parse(text))
                .getMessage();
        assertTrue(message.contains("4x24GiB") && message.contains("rtx4090"), message);
    }

    @Test
    void cardsAreKnownByTheNamesOfTheDriver() {
        assertEquals(
                "a100-80gb",
                Gpus.cardNamed("NVIDIA A100-SXM4-80GB").orElseThrow().key());
        assertEquals(
                "h100-80gb",
                Gpus.cardNamed("NVIDIA H100 80GB HBM3").orElseThrow().key());
        assertEquals(
                "rtx4090",
                Gpus.cardNamed("NVIDIA GeForce RTX 4090").orElseThrow().key());
        for (String other :
                new String[] {"NVIDIA H100 PCIe", "NVIDIA GeForce RTX 3090 Ti", "Tesla T4", "simulated device 0", ""}) {
            assertTrue(Gpus.cardNamed(other).isEmpty(), other);
        }
    }
}
