package org.shardloom.kernels.cuda;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;

/** A test that needs what a real driver does not have; the value says what: faults on demand, counters, a limit of memory. */
@Target({ElementType.TYPE, ElementType.METHOD})
@Retention(RetentionPolicy.RUNTIME)
@DisabledIfSystemProperty(
        named = GpuTier.DRIVER,
        matches = GpuTier.REAL,
        disabledReason = "needs faults, delays or counters of the simulated driver, which a GPU does not have")
public @interface OnlySimulated {
    /** What of the simulation it needs. */
    String value();
}
