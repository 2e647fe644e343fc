package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** The prefix that table and maps come to, against double precision. */
@Timeout(value = 30, unit = TimeUnit.SECONDS)
class ProjectedPrefixTest {
    private static final String PREFIX = "transformer.prefix_encoder.";

    @ParameterizedTest
    @ValueSource(strings = {"tiny-chatglm1", "tiny-chatglm2", "tiny-chatglm3"})
    void itIsWhatTheMapsMakeOfTheTable(String model) throws Exception {
        try (TensorSource trained = WeightsDirectory.openAdapter(
                        SharedFixtures.require(model).resolve("ptuning-projection"));
                TensorSource made = ProjectedPrefix.of(trained)) {
            String table = PREFIX + "embedding.weight";
            assertEquals(Set.of(table), made.tensors().keySet());
            int rows = trained.info(table).shape().get(0).intValue();
            double[] hidden = map(trained, doubles(trained.readAll(table)), rows, "trans.0");
            for (int i = 0; i < hidden.length; i++) {
                hidden[i] = Math.tanh(hidden[i]);
            }
            double[] expected = map(trained, hidden, rows, "trans.2");
            assertEquals(
                    List.of((long) rows, (long) expected.length / rows),
                    made.info(table).shape());
            assertArrayEquals(expected, doubles(made.readAll(table)), 1e-5);
        }
    }

    private static double[] map(TensorSource source, double[] x, int rows, String name) throws Exception {
        float[] weight = source.readAll(PREFIX + name + ".weight");
        float[] bias = source.readAll(PREFIX + name + ".bias");
        int in = x.length / rows;
        double[] y = new double[rows * bias.length];
        for (int r = 0; r < rows; r++) {
            for (int o = 0; o < bias.length; o++) {
                double sum = bias[o];
                for (int i = 0; i < in; i++) {
                    sum += x[r * in + i] * weight[o * in + i];
                }
                y[r * bias.length + o] = sum;
            }
        }
        return y;
    }

    private static double[] doubles(float[] values) {
        double[] result = new double[values.length];
        for (int i = 0; i < values.length; i++) {
            result[i] = values[i];
        }
        return result;
    }
}
