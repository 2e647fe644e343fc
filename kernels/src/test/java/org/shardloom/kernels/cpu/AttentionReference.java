package org.shardloom.kernels.cpu;

import org.shardloom.kernels.device.AttentionShape;

/** Causal grouped-query attention over packed sequences as plain loops in double precision. */
final class AttentionReference {
    private final AttentionShape shape;
    private final int[] starts;
    private final int[] contexts;
    private final double[] qkv;
    private final int d;
    private final int width;
    private final double scale;

    final Bounded context;
    final Bounded logSums;

    /** The largest sum of |q k| / sqrt(d): what a score's rounding error is relative to. */
    double scoreMagnitude;

    AttentionReference(AttentionShape shape, int[] starts, double[] qkv) {
        this(shape, starts, null, qkv);
    }

    /** With the number of tokens of each sequence that all its tokens see. */
    AttentionReference(AttentionShape shape, int[] starts, int[] contexts, double[] qkv) {
        this.contexts = contexts;
        this.shape = shape;
        this.starts = starts;
        this.qkv = qkv;
        d = shape.headSize();
        width = (int) shape.qkvWidth();
        scale = 1 / Math.sqrt(d);
        int tokens = qkv.length / width;
        context = new Bounded(tokens * shape.heads() * d);
        logSums = new Bounded(tokens * shape.heads());
        eachRow(this::forward);
    }

    /** Called with a token, its head, the first token of its sequence and how many it sees from there. */
    private interface Row {
        void accept(int token, int head, int first, int visible);
    }

    private void eachRow(Row row) {
        for (int s = 0; s + 1 < starts.length; s++) {
            for (int token = starts[s]; token < starts[s + 1]; token++) {
                for (int head = 0; head < shape.heads(); head++) {
                    int visible = Math.max(token - starts[s] + 1, contexts == null ? 0 : contexts[s]);
                    row.accept(token, head, starts[s], visible);
                }
            }
        }
    }

    private int query(int token, int head) {
        return token * width + shape.queryColumn(head);
    }

    private int key(int token, int head) {
        return token * width + shape.keyColumn(head * shape.groups() / shape.heads());
    }

    private int value(int token, int head) {
        return token * width + shape.valueColumn(head * shape.groups() / shape.heads());
    }

    /** Scores of the visible keys. */
    private double[] scores(int token, int head, int first, int visible) {
        double[] scores = new double[visible];
        for (int j = 0; j < scores.length; j++) {
            double magnitude = 0;
            for (int i = 0; i < d; i++) {
                double term = qkv[query(token, head) + i] * qkv[key(first + j, head) + i] * scale;
                scores[j] += term;
                magnitude += Math.abs(term);
            }
            scoreMagnitude = Math.max(scoreMagnitude, magnitude);
        }
        return scores;
    }

    private void forward(int token, int head, int first, int visible) {
        double[] scores = scores(token, head, first, visible);
        double logSum = logSum(scores);
        int row = token * shape.heads() + head;
        logSums.add(row, logSum, 1 + scoreMagnitude + Math.abs(logSum));
        for (int j = 0; j < scores.length; j++) {
            double p = Math.exp(scores[j] - logSum);
            for (int i = 0; i < d; i++) {
                context.add(row * d + i, p * qkv[value(first + j, head) + i]);
            }
        }
    }

    private static double logSum(double[] scores) {
        double top = Double.NEGATIVE_INFINITY, total = 0;
        for (double score : scores) {
            top = Math.max(top, score);
        }
        for (double score : scores) {
            total += Math.exp(score - top);
        }
        return top + Math.log(total);
    }

    /** Gradient of q|k|v; the forward output is taken as given, rounded as it was stored. */
    Bounded backward(double[] gradContext, double[] storedContext) {
        Bounded grad = new Bounded(qkv.length);
        eachRow((token, head, first, visible) -> {
            double[] scores = scores(token, head, first, visible);
            double logSum = logSum(scores);
            int out = (token * shape.heads() + head) * d;
            double delta = 0, deltaMagnitude = 0;
            for (int i = 0; i < d; i++) {
                double term = gradContext[out + i] * storedContext[out + i];
                delta += term;
                deltaMagnitude += Math.abs(term);
            }
            for (int j = 0; j < scores.length; j++) {
                int q = query(token, head), k = key(first + j, head), v = value(first + j, head);
                double p = Math.exp(scores[j] - logSum), gradP = 0, gradMagnitude = deltaMagnitude;
                for (int i = 0; i < d; i++) {
                    double term = gradContext[out + i] * qkv[v + i];
                    gradP += term;
                    gradMagnitude += Math.abs(term);
                    grad.add(v + i, p * gradContext[out + i]);
                }
                double gradScore = p * (gradP - delta) * scale, magnitude = p * gradMagnitude * scale;
                for (int i = 0; i < d; i++) {
                    grad.add(q + i, gradScore * qkv[k + i], magnitude * Math.abs(qkv[k + i]));
                    grad.add(k + i, gradScore * qkv[q + i], magnitude * Math.abs(qkv[q + i]));
                }
            }
        });
        return grad;
    }
}
