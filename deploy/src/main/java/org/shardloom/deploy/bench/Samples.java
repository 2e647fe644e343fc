package org.shardloom.deploy.bench;

import java.util.Arrays;
import java.util.List;

/** Repeated measurements of one thing. */
final class Samples {
    private final double[] sorted;

    private Samples(double[] values) {
        sorted = values.clone();
        Arrays.sort(sorted);
    }

    static Samples of(double... values) {
        if (values.length == 0) {
            throw new IllegalArgumentException("nothing was measured");
        }
        return new Samples(values);
    }

    static Samples of(List<Double> values) {
        return of(values.stream().mapToDouble(Double::doubleValue).toArray());
    }

    /** Times the operation in seconds, after warming up. */
    static Samples time(int warmup, int steps, Runnable operation) {
        for (int i = 0; i < warmup; i++) {
            operation.run();
        }
        double[] seconds = new double[steps];
        for (int i = 0; i < steps; i++) {
            long start = System.nanoTime();
            operation.run();
            seconds[i] = (System.nanoTime() - start) * 1e-9;
        }
        return of(seconds);
    }

    double median() {
        int half = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
    }

    double min() {
        return sorted[0];
    }

    double max() {
        return sorted[sorted.length - 1];
    }
}
