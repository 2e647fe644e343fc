package org.shardloom.worker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.protocol.config.ScheduleConfig;
import org.shardloom.protocol.config.ScheduleConfig.Type;

@Timeout(value = 10, unit = TimeUnit.SECONDS)
class LearningRateTest {
    private static final double PEAK = 3e-4;

    private static LearningRate rate(Type type, int warmup, double ratio, long total) {
        return new LearningRate(PEAK, new ScheduleConfig(type, warmup, ratio), total);
    }

    @ParameterizedTest
    @CsvSource({"CONSTANT,0", "CONSTANT,7", "LINEAR,0", "LINEAR,7", "COSINE,0", "COSINE,7", "LINEAR,30", "COSINE,30"})
    void everyStepFollowsItsFormula(Type type, int warmup) {
        int total = 30;
        LearningRate rate = rate(type, warmup, 0, total);
        for (int k = 1; k <= total; k++) {
            double done = (k - warmup) / (double) (total - warmup);
            double expected =
                    switch (type) {
                        case CONSTANT -> PEAK;
                        case LINEAR -> PEAK * (1 - done);
                        case COSINE -> PEAK * (1 + Math.cos(Math.PI * done)) / 2;
                    };
            assertEquals(k <= warmup ? PEAK * k / warmup : expected, rate.at(k), 1e-15, "step " + k);
        }
    }

    @Test
    void theWarmUpsLastStepHasThePeakEvenWhereItIsTheRunsLast() {
        for (Type type : Type.values()) {
            assertEquals(PEAK, rate(type, 10, 0, 10).at(10), type + " over the whole run");
            assertEquals(PEAK, rate(type, 10, 0, 100).at(10), type.toString());
            assertEquals(PEAK * 5 / 10, rate(type, 10, 0, 5).at(5), type + " longer than the run");
        }
    }

    @Test
    void aRatioOfTheRunIsRoundedUpToWholeSteps() {
        assertEquals(PEAK / 3, rate(Type.CONSTANT, 0, 0.1, 21).at(1), 1e-15);
        assertEquals(PEAK / 2, rate(Type.CONSTANT, 0, 0.1, 20).at(1), 1e-15);
        assertEquals(PEAK, rate(Type.CONSTANT, 0, 0, 20).at(1), 1e-15);
    }

    @Test
    void stepsBeyondTheRunHaveTheLastStepsRate() {
        assertEquals(0, rate(Type.LINEAR, 0, 0, 20).at(25), 1e-15);
        assertEquals(0, rate(Type.COSINE, 5, 0, 20).at(25), 1e-15);
        assertEquals(PEAK, rate(Type.CONSTANT, 5, 0, 20).at(25), 1e-15);
    }
}
