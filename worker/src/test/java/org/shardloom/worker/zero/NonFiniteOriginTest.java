package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.shardloom.worker.model.UnitSpec;

/** Which of the units with a gradient that is not finite backward reached first. */
class NonFiniteOriginTest {
    private static final int PREFIX = 4;

    /** Those of a method's own come where its blocks are, or at the end. */
    private static final List<UnitSpec> UNITS = List.of(
            unit("embedding", 0),
            unit("prefix", PREFIX),
            unit("layers.0", 1),
            unit("layers.1", 2),
            unit("layers.1.lora", 2),
            unit("head", 3));

    private static UnitSpec unit(String name, int block) {
        return new UnitSpec.Builder(name, block).build();
    }

    private static String origin(double... squares) {
        return NonFiniteOrigin.unitOfGradient(UNITS, PREFIX, squares);
    }

    @Test
    void theUnitNearestToTheHeadIsNamed() {
        double nan = Double.NaN;
        double infinite = Double.POSITIVE_INFINITY;
        assertEquals("head", origin(nan, nan, nan, nan, nan, infinite));
        assertEquals("layers.1", origin(nan, nan, nan, infinite, nan, 1));
        assertEquals("layers.1.lora", origin(nan, nan, nan, 1, nan, 1));
        assertEquals("layers.0", origin(nan, nan, infinite, 1, 1, 1));
        assertEquals("embedding", origin(nan, 1, 1, 1, 1, 1));
    }

    @Test
    void thePrefixIsReachedLast() {
        assertEquals("prefix", origin(1, Double.NaN, 1, 1, 1, 1));
        assertEquals("layers.0", origin(1, Double.NaN, Double.NaN, 1, 1, 1));
        assertEquals("embedding", origin(Double.NaN, Double.NaN, 1, 1, 1, 1));
    }

    @Test
    void finiteGradientsHaveNoOrigin() {
        assertThrows(IllegalArgumentException.class, () -> origin(1, 1, 1, 1, 1, 1));
    }
}
