package org.shardloom.worker.optim;

/**
 * Dynamic loss scaling for fp16 (Micikevicius et al., 2018): halved when a gradient overflows, doubled after enough steps without.
 */
public final class LossScaler {
    private static final double FIRST = 65536;
    private static final double LARGEST = 1 << 24;
    private static final int GROWTH_INTERVAL = 1000;
    private final boolean dynamic;
    private double scale;
    private int goodSteps;

    private LossScaler(boolean dynamic, double scale, int goodSteps) {
        this.dynamic = dynamic;
        this.scale = scale;
        this.goodSteps = goodSteps;
    }

    /** For fp16. */
    public static LossScaler dynamic() {
        return new LossScaler(true, FIRST, 0);
    }

    /** For bf16 and fp32: always 1. */
    public static LossScaler none() {
        return new LossScaler(false, 1, 0);
    }

    /** Goes on from a checkpoint. */
    public void restore(double savedScale, int savedGoodSteps) {
        if (dynamic && savedScale > 0) {
            scale = savedScale;
            goodSteps = savedGoodSteps;
        }
    }

    public boolean isDynamic() {
        return dynamic;
    }

    public double scale() {
        return scale;
    }

    public int goodSteps() {
        return goodSteps;
    }

    /** Takes note of a step whose gradients were finite or not. */
    public void update(boolean finite) {
        if (!dynamic) {
            return;
        }
        if (!finite) {
            scale = Math.max(1, scale / 2);
            goodSteps = 0;
        } else if (++goodSteps >= GROWTH_INTERVAL) {
            scale = Math.min(LARGEST, scale * 2);
            goodSteps = 0;
        }
    }
}
