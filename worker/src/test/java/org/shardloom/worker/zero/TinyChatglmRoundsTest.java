package org.shardloom.worker.zero;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Traces with several micro-batches a step against the original implementation; in a class of their own, which runs beside the other. */
@Timeout(value = 180, unit = TimeUnit.SECONDS)
class TinyChatglmRoundsTest {
    @Tag("any-device")
    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm3", "tiny-chatglm2", "tiny-chatglm1"})
    void twentyStepsEqualTheReference(String model) throws Exception {
        TinyChatglmTest.assertTrace(model, "accum4");
    }
}
