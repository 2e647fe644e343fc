package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import org.shardloom.kernels.tensor.Tensor;

/**
 * What a computation should give, and how much fp32 arithmetic may err. An fp32 sum of n terms, in any order, errs by at
 * most n roundings of 2^-24 of the sum of the terms' magnitudes (Higham, "Accuracy and Stability of Numerical Algorithms",
 * 2002, section 4.2). So a reference hands over, beside each value, the sum of the magnitudes that it is made of, and a test
 * says how many roundings lie on the longest path; storing adds one rounding of the dtype.
 */
final class Bounded {
    private static final double FP32 = Math.scalb(1.0, -24);

    final double[] values;
    final double[] magnitudes;

    Bounded(int n) {
        this(new double[n], new double[n]);
    }

    Bounded(double[] values, double[] magnitudes) {
        this.values = values;
        this.magnitudes = magnitudes;
    }

    /** Adds a term to element i. */
    void add(int i, double term) {
        add(i, term, Math.abs(term));
    }

    /** Adds a term that was made of larger ones to element i. */
    void add(int i, double term, double magnitude) {
        values[i] += term;
        magnitudes[i] += magnitude;
    }

    /** Fails unless every element is within the roundings. */
    void check(String what, double roundings, Tensor actual) {
        check(what, roundings, 0, actual);
    }

    /** Fails unless every element is within the roundings and what may be lost besides. */
    void check(String what, double roundings, double lost, Tensor actual) {
        double[] found = Guarded.read(actual);
        assertEquals(values.length, found.length, what);
        for (int i = 0; i < found.length; i++) {
            double fp32 = roundings * FP32 * magnitudes[i];
            double stored = Numbers.roundoff(actual.dtype()) * (Math.abs(values[i]) + fp32);
            double allowed = lost + fp32 + stored + Numbers.tiny(actual.dtype());
            if (!(Math.abs(found[i] - values[i]) <= allowed)) {
                fail("%s: element %d of %s is %s, expected %s within %.3g"
                        .formatted(what, i, actual, found[i], values[i], allowed));
            }
        }
    }
}
