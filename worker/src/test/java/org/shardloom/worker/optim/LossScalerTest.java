package org.shardloom.worker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 10, unit = TimeUnit.SECONDS)
class LossScalerTest {

    @Test
    void itDoublesAfterAThousandGoodStepsAndHalvesAtOnce() {
        LossScaler scaler = LossScaler.dynamic();
        assertTrue(scaler.isDynamic());
        assertEquals(65536, scaler.scale());
        for (int i = 1; i <= 999; i++) {
            scaler.update(true);
            assertEquals(i, scaler.goodSteps());
            assertEquals(65536, scaler.scale());
        }
        scaler.update(true);
        assertEquals(131072, scaler.scale());
        assertEquals(0, scaler.goodSteps());
        scaler.update(true);
        scaler.update(false);
        assertEquals(65536, scaler.scale());
        assertEquals(0, scaler.goodSteps());
    }

    @Test
    void itStaysBetweenOneAndTwoToThe24() {
        LossScaler scaler = LossScaler.dynamic();
        for (int i = 0; i < 40; i++) {
            scaler.update(false);
        }
        assertEquals(1, scaler.scale());
        for (int i = 0; i < 40_000; i++) {
            scaler.update(true);
        }
        assertEquals(1 << 24, scaler.scale());
    }

    @Test
    void itGoesOnWhereACheckpointLeftIt() {
        LossScaler scaler = LossScaler.dynamic();
        scaler.restore(512, 999);
        scaler.update(true);
        assertEquals(1024, scaler.scale());
        scaler.restore(0, 0);
        assertEquals(1024, scaler.scale(), "0 is the state before the first step");
    }

    @Test
    void withoutScalingItIsOneForEver() {
        LossScaler scaler = LossScaler.none();
        scaler.restore(512, 3);
        scaler.update(false);
        scaler.update(true);
        assertFalse(scaler.isDynamic());
        assertEquals(1, scaler.scale());
    }
}
