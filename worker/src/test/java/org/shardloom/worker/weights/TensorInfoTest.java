package org.shardloom.worker.weights;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class TensorInfoTest {
    @Test
    void countsAreProductsOfTheShape() {
        assertEquals(1, TensorInfo.of("s", WeightDtype.F64).elementCount());
        assertEquals(8, TensorInfo.of("s", WeightDtype.F64).byteCount());
        assertEquals(12, TensorInfo.of("m", WeightDtype.BF16, 2, 3).byteCount());
        assertEquals(
                0,
                TensorInfo.of("e", WeightDtype.F32, Long.MAX_VALUE, Long.MAX_VALUE, 0)
                        .elementCount());
        assertEquals(
                Long.MAX_VALUE,
                TensorInfo.of("b", WeightDtype.I8, Long.MAX_VALUE).byteCount());
    }

    @Test
    void impossibleShapesAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> TensorInfo.of("x", WeightDtype.F32, -1, 0));
        assertThrows(IllegalArgumentException.class, () -> TensorInfo.of("x", WeightDtype.F16, Long.MAX_VALUE));
        assertThrows(IllegalArgumentException.class, () -> TensorInfo.of("x", WeightDtype.U8, 1L << 32, 1L << 32));
        assertThrows(IllegalArgumentException.class, () -> TensorInfo.of("", WeightDtype.U8));
    }
}
