package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Random;
import java.util.function.Function;
import org.shardloom.kernels.tensor.Tensor;

/** Checks gradients against central differences of a forward function in double precision. */
final class FiniteDifferences {
    private static final double STEP = 1e-5;

    private FiniteDifferences() {}

    /**
     * At some random elements of x, compares the gradient of sum(forward(x) * gradOut) with its difference quotient, which
     * errs by about 1e-9 (STEP^2 and 1e-16 / STEP); the fp32 gradient's own error, within the tolerance, is the larger.
     */
    static void check(
            String what,
            Random random,
            Function<double[], double[]> forward,
            double[] x,
            double[] gradOut,
            Tensor grad,
            double tolerance) {
        double[] found = Guarded.read(grad);
        for (int trial = 0; trial < 12; trial++) {
            int i = random.nextInt(x.length);
            double[] above = x.clone(), below = x.clone();
            above[i] += STEP;
            below[i] -= STEP;
            double difference = (dot(forward.apply(above), gradOut) - dot(forward.apply(below), gradOut)) / (2 * STEP);
            assertEquals(difference, found[i], tolerance, what + ": difference quotient of element " + i);
        }
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
