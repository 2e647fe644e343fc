package org.shardloom.kernels.cpu;

import java.util.Arrays;
import org.shardloom.kernels.device.AttentionShape;

/** The operations as plain loops in double precision, written from their definitions. */
final class Reference {
    private Reference() {}

    /** A[m, k] B[k, n] with any strides, plus C where it is not null; row-major [m, n]. */
    static Bounded product(
            int m, int n, int k, double[] a, int aRow, int aColumn, double[] b, int bRow, int bColumn, double[] c) {
        Bounded out = new Bounded(m * n);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0, magnitude = 0;
                for (int p = 0; p < k; p++) {
                    double term = a[i * aRow + p * aColumn] * b[p * bRow + j * bColumn];
                    sum += term;
                    magnitude += Math.abs(term);
                }
                out.add(i * n + j, sum, magnitude);
                if (c != null) {
                    out.add(i * n + j, c[i * n + j]);
                }
            }
        }
        return out;
    }

    static double inverseNorm(double[] x, int row, int n, double eps) {
        double squares = 0;
        for (int i = 0; i < n; i++) {
            squares += x[row * n + i] * x[row * n + i];
        }
        return 1 / Math.sqrt(squares / n + eps);
    }

    static Bounded rmsNorm(double[] x, double[] weight, double eps) {
        int n = weight.length;
        Bounded out = new Bounded(x.length);
        for (int i = 0; i < x.length; i++) {
            out.add(i, x[i] * inverseNorm(x, i / n, n, eps) * weight[i % n]);
        }
        return out;
    }

    /** Gradients of x and of the weight; skip may be null. */
    static Bounded[] rmsNormBackward(double[] gradOut, double[] x, double[] weight, double[] skip, double eps) {
        int n = weight.length;
        Bounded gradX = new Bounded(x.length), gradWeight = new Bounded(n);
        for (int r = 0; r < x.length / n; r++) {
            double inverse = inverseNorm(x, r, n, eps), mean = 0, meanMagnitude = 0;
            for (int i = r * n; i < r * n + n; i++) {
                double term = gradOut[i] * weight[i % n] * x[i] * inverse;
                mean += term / n;
                meanMagnitude += Math.abs(term) / n;
                gradWeight.add(i % n, gradOut[i] * x[i] * inverse);
            }
            for (int i = r * n; i < r * n + n; i++) {
                gradX.add(i, inverse * gradOut[i] * weight[i % n]);
                gradX.add(i, -inverse * x[i] * inverse * mean, Math.abs(inverse * x[i] * inverse) * meanMagnitude);
                if (skip != null) {
                    gradX.add(i, skip[i]);
                }
            }
        }
        return new Bounded[] {gradX, gradWeight};
    }

    /** As complex numbers: each pair (u + iv) of q and k is multiplied by cos + i sin, or its conjugate. */
    static Bounded rotary(
            double[] qkv, double[] bias, double[] table, int[] positions, AttentionShape s, boolean inverse) {
        int width = (int) s.qkvWidth(), tokens = qkv.length / width, part = s.rotaryDim() / s.dimensions();
        boolean interleaved = s.rotation() == AttentionShape.Rotation.INTERLEAVED;
        Bounded out = new Bounded(qkv.length);
        for (int i = 0; i < qkv.length; i++) {
            int token = i / width, column = i % width, head = column / s.headSize(), place = column % s.headSize();
            boolean value = s.byHead() ? head % 3 == 2 : head >= s.heads() + s.groups();
            double own = at(qkv, bias, i, width);
            if (value || place >= s.rotaryDim()) {
                out.add(i, own);
                continue;
            }
            int half = part / 2, within = place % part, position = positions[place / part * tokens + token];
            int pair = interleaved ? within / 2 : within % half;
            boolean real = interleaved ? within % 2 == 0 : within < half;
            int partner = i + (real ? 1 : -1) * (interleaved ? 1 : half);
            double cosine = table[(position * half + pair) * 2];
            double sine = table[(position * half + pair) * 2 + 1] * (inverse ? -1 : 1) * (real ? -1 : 1);
            out.add(i, own * cosine);
            out.add(i, at(qkv, bias, partner, width) * sine);
        }
        return out;
    }

    private static double at(double[] qkv, double[] bias, int i, int width) {
        return qkv[i] + (bias == null ? 0 : bias[i % width]);
    }

    private static double sigmoid(double x) {
        return 1 / (1 + Math.exp(-x));
    }

    /** x + bias, rounded to fp32 as every implementation does; the bias is repeated for each row, and none where null. */
    static double[] addBias(double[] x, double[] bias) {
        double[] sums = x.clone();
        for (int i = 0; bias != null && i < x.length; i++) {
            sums[i] = (float) (x[i] + bias[i % bias.length]);
        }
        return sums;
    }

    static Bounded swiglu(double[] gateUp, int n) {
        Bounded out = new Bounded(gateUp.length / 2);
        for (int i = 0; i < out.values.length; i++) {
            double gate = gateUp[i / n * 2 * n + i % n], up = gateUp[i / n * 2 * n + n + i % n];
            out.add(i, gate * sigmoid(gate) * up);
        }
        return out;
    }

    static Bounded swigluBackward(double[] gradOut, double[] gateUp, int n) {
        Bounded out = new Bounded(gateUp.length);
        for (int i = 0; i < gradOut.length; i++) {
            int gateAt = i / n * 2 * n + i % n, upAt = gateAt + n;
            double gate = gateUp[gateAt], sigmoid = sigmoid(gate);
            out.add(upAt, gradOut[i] * gate * sigmoid);
            out.add(gateAt, gradOut[i] * gateUp[upAt] * sigmoid);
            // 1 - sigmoid is a difference: its error is of the size of sigmoid.
            double term = gradOut[i] * gateUp[upAt] * gate * sigmoid;
            out.add(gateAt, term * sigmoid(-gate), Math.abs(term));
        }
        return out;
    }

    /** Losses, and gradients times scale. */
    static Bounded[] crossEntropy(double[] logits, int[] targets, double scale) {
        int rows = targets.length, n = logits.length / rows;
        Bounded losses = new Bounded(rows), grad = new Bounded(logits.length);
        for (int r = 0; r < rows; r++) {
            double[] row = Arrays.copyOfRange(logits, r * n, r * n + n);
            double top = Arrays.stream(row).max().orElseThrow();
            double total = Arrays.stream(row).map(x -> Math.exp(x - top)).sum();
            losses.add(r, Math.log(total) + (top - row[targets[r]]), 1 + Math.log(total) + top - row[targets[r]]);
            for (int i = 0; i < n; i++) {
                double p = Math.exp(row[i] - top) / total;
                grad.add(r * n + i, scale * p, Math.abs(scale) * p * (1 + top - row[i])); // the exponent is rounded too
            }
            grad.add(r * n + targets[r], -scale);
        }
        return new Bounded[] {losses, grad};
    }
}
