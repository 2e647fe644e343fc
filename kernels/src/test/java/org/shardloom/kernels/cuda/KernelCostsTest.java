package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.cuda.KernelCosts.Cost;
import org.shardloom.kernels.cuda.KernelCosts.Rates;
import org.shardloom.kernels.cuda.KernelCosts.Size;
import org.shardloom.kernels.device.AttentionShape;

class KernelCostsTest {
    private static final Path SOURCES = Path.of("src/main/cuda");
    /** 1 TB/s, 10 and 100 TFLOP/s. */
    private static final Rates RATES = new Rates(1e12, 1e13, 1e14);

    @Test
    void operationsOnElementsAreBoundByTheBytesOfTheirOperands() {
        Cost add = KernelCosts.ADD.of(Size.of(1000, 4096, 2));
        assertEquals(3 * 1000 * 4096 * 2, add.bytes());
        assertEquals(1000 * 4096, add.operations());
        assertEquals(24.576, add.floorMicros(RATES), 1e-9);
        assertTrue(add.boundByMemory(RATES));
        assertEquals(
                1000 * 4096 * 6,
                KernelCosts.CONVERT.of(Size.of(1000, 4096, 2, 4)).bytes());
        // Per 64 elements: 128 bytes out, 32 of codes, 4 of scale.
        assertEquals(164, KernelCosts.DEQUANTIZE_NF4.of(Size.of(1, 64, 2)).bytes());
        assertEquals(
                130 * 10 * 2 + 3 * 10 * 4,
                KernelCosts.COLUMN_PARTIALS.of(Size.of(130, 10, 2)).bytes());
    }

    @Test
    void attentionCountsThePairsThatSeeEachOther() {
        AttentionShape shape = new AttentionShape(4, 2, 64, 0, false);
        int[] lengths = {5, 0, 3, 7}, contexts = {3, 0, 3, 1};
        long pairs = 0;
        for (int s = 0; s < lengths.length; s++) {
            for (int q = 0; q < lengths[s]; q++) {
                for (int k = 0; k < lengths[s]; k++) {
                    pairs += k <= q || k < contexts[s] ? 1 : 0;
                }
            }
        }
        Size size = Size.attention(lengths, contexts, 2, shape);
        assertEquals(pairs, size.pairs());
        assertEquals(15 + 6 + 28, Size.attention(lengths, null, 2, shape).pairs());
        Cost forward = KernelCosts.FLASH_ATTENTION.of(size);
        assertEquals(4.0 * pairs * 64 * 4, forward.operations());
        assertEquals(15 * (8 * 64 + 4 * 64) * 2 + 15 * 4 * 4, forward.bytes());
        assertEquals(
                15 * (8 * 64 + 4 * 64) * 2,
                KernelCosts.FLASH_ATTENTION_WITH_CACHE.of(size).bytes());
        double backward = KernelCosts.FLASH_ATTENTION_GRAD_QUERY.of(size).operations()
                + KernelCosts.FLASH_ATTENTION_GRAD_KEY.of(size).operations();
        // Seven products: scores and gradients of probabilities are computed in both kernels.
        assertEquals(3.5, backward / forward.operations());
        assertEquals(
                15 * (8 * 64 + 3 * 4 * 64) * 2 + 15 * 4 * 8,
                KernelCosts.FLASH_ATTENTION_GRAD_QUERY.of(size).bytes());
        assertEquals(
                15 * (8 * 64 + 4 * 64 + 4 * 64) * 2 + 15 * 4 * 8,
                KernelCosts.FLASH_ATTENTION_GRAD_KEY.of(size).bytes());
    }

    @Test
    void theFloorIsThatOfTheUnitsThatComputeOrOfMemory() {
        AttentionShape shape = new AttentionShape(32, 2, 128, 64, true);
        Size size = Size.attention(new int[] {2048}, null, 2, shape);
        Cost matrix = KernelCosts.FLASH_ATTENTION.of(size), vector = KernelCosts.ATTENTION.of(size);
        assertEquals(10, vector.floorMicros(RATES) / matrix.floorMicros(RATES), 1e-9);
        assertFalse(matrix.boundByMemory(RATES));
        assertEquals(matrix.operations() / 1e14 * 1e6, matrix.floorMicros(RATES), 1e-9);
        assertTrue(matrix.boundByMemory(new Rates(1e9, 1e13, 1e14)));
        assertEquals(matrix.bytes() / 1e9 * 1e6, matrix.floorMicros(new Rates(1e9, 1e13, 1e14)), 1e-6);
        assertThrows(IllegalArgumentException.class, () -> new Rates(0, 1, 1));
    }

    @Test
    void rotationMovesThePartThatIsRotated() {
        // ChatGLM3-6B: half of each of 32 query and 2 key heads.
        Size size = Size.rotary(100, 2, new AttentionShape(32, 2, 128, 64, true));
        assertEquals(34 * 32, size.pairs());
        assertEquals(100 * (34 * 64 * 2 * 2 + 8), KernelCosts.ROTARY.of(size).bytes());
    }

    @Test
    void everyKernelThatShipsHasItsCosts() throws IOException {
        Set<String> kernels = new TreeSet<>();
        Pattern declared = Pattern.compile("KERNEL(?:_BOUNDED\\([^,]*,[^,]*, |\\()(\\w+)");
        for (String text : KernelSources.shipped().headers().values()) {
            for (Matcher m = declared.matcher(text.replaceAll("(?m)^#define KERNEL.*$", "")); m.find(); ) {
                kernels.add(m.group(1));
            }
        }
        assertTrue(kernels.size() > 30, kernels.toString());
        // Other uses of kernels that have a family already.
        Set<KernelCosts> used = EnumSet.of(
                KernelCosts.RMS_NORM_RESIDUAL,
                KernelCosts.ATTENTION_WITH_CACHE,
                KernelCosts.FLASH_ATTENTION_WITH_CACHE);
        for (String kernel : kernels) {
            KernelCosts family = KernelCosts.named(kernel).orElse(null);
            assertTrue(family != null, "no costs of " + kernel);
            used.add(family);
        }
        assertEquals(EnumSet.allOf(KernelCosts.class), used);
        assertEquals(
                KernelCosts.ADD_SCALED, KernelCosts.named("add_scaled_bf16").orElseThrow());
        assertEquals(KernelCosts.RMS_NORM, KernelCosts.named("rms_norm_f32").orElseThrow());
        assertEquals(
                KernelCosts.FLASH_ATTENTION_GRAD_KEY,
                KernelCosts.named("flash_attention_grad_key_128_f16").orElseThrow());
    }

    /** What the table of occupancy takes for shared memory and threads is what is launched. */
    @Test
    void theTableOfLaunchesHasTheSizesOfTheCode() throws IOException {
        List<String> lines = Files.readAllLines(SOURCES.resolve("launches.txt"));
        for (int headSize : new int[] {64, 128}) {
            for (String line : new String[] {
                "^flash_attention_%d_ %d %d"
                        .formatted(headSize, FlashAttention.THREADS, FlashAttention.forwardShared(headSize)),
                "^flash_attention_grad_query_%d_ %d %d"
                        .formatted(headSize, FlashAttention.THREADS, FlashAttention.gradQueryShared(headSize)),
                "^flash_attention_grad_key_%d_ %d %d"
                        .formatted(headSize, FlashAttention.THREADS, FlashAttention.gradKeyShared(headSize))
            }) {
                assertTrue(lines.contains(line), line);
            }
        }
    }
}
