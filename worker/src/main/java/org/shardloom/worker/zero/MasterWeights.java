package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsException;

/** Fills a rank's master weights from checkpoint files, reading only what the rank owns, or at random. */
public final class MasterWeights {
    /** Elements converted at a time. */
    private static final int CHUNK = 1 << 20;

    private MasterWeights() {}

    /**
     * Compares the files with the model.
     *
     * @throws WeightsException listing every missing, extra or mis-shaped tensor
     */
    public static void check(List<UnitSpec> units, TensorSource source, String where) throws WeightsException {
        List<String> problems = new ArrayList<>();
        Set<String> unused = new TreeSet<>(source.tensors().keySet());
        for (UnitSpec unit : units) {
            for (ParameterSpec p : unit.parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    unused.remove(s.name());
                    TensorInfo found = source.tensors().get(s.name());
                    if (found == null) {
                        problems.add("missing: " + s.name() + " " + p.shapeOf(s));
                    } else if (!found.shape().equals(p.shapeOf(s))) {
                        problems.add("shape: " + s.name() + " is " + found.shape()
                                + ", the model's configuration asks for " + p.shapeOf(s));
                    } else if (!found.dtype().isFloating()) {
                        problems.add("type: " + s.name() + " is " + found.dtype() + ", not a floating-point type");
                    }
                }
            }
        }
        unused.removeIf(name -> name.endsWith("inv_freq") || name.equals("lm_head.weight"));
        unused.forEach(name ->
                problems.add("extra: " + name + " " + source.tensors().get(name).shape()));
        if (!problems.isEmpty()) {
            throw new WeightsException(where + ": the weights do not fit the model:\n  "
                    + problems.stream().limit(40).collect(Collectors.joining("\n  "))
                    + (problems.size() > 40 ? "\n  and " + (problems.size() - 40) + " more" : ""));
        }
    }

    /** Reads the rank's slices. */
    public static void load(
            List<UnitSpec> units, ShardPlan plan, int rank, TensorSource source, OptimizerShard optimizer)
            throws IOException {
        for (int u = 0; u < units.size(); u++) {
            Interval slice = plan.owned(u, rank);
            Tensor master = optimizer.get(u, OptimizerShard.Part.MASTER);
            for (ParameterSpec p : units.get(u).parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    long start = p.offset() + s.firstRow() * p.columns();
                    Interval common = slice.intersect(new Interval(start, start + s.rows() * p.columns()));
                    for (long at = common.from(); at < common.to(); at += CHUNK) {
                        int count = (int) Math.min(CHUNK, common.to() - at);
                        source.read(s.name(), at - start, floats(master, at - slice.from(), count));
                    }
                }
            }
        }
    }

    /**
     * Draws the rank's slices. A value depends on the seed, the parameter and its position only, so every world size starts with the
     * same model.
     */
    public static void randomize(
            List<UnitSpec> units, ShardPlan plan, int rank, long seed, int layers, OptimizerShard optimizer) {
        for (int u = 0; u < units.size(); u++) {
            Interval slice = plan.owned(u, rank);
            Tensor master = optimizer.get(u, OptimizerShard.Part.MASTER);
            for (ParameterSpec p : units.get(u).parameters().values()) {
                Interval common = slice.intersect(new Interval(p.offset(), p.offset() + p.elements()));
                long key =
                        seed * 0x9E3779B97F4A7C15L ^ ((long) (units.get(u).name() + "." + p.name()).hashCode() << 21);
                long from = common.from() - slice.from();
                fill(master, from, common.length(), p.kind(), key, common.from() - p.offset(), layers);
            }
        }
    }

    private static void fill(
            Tensor master, long from, long count, ParameterSpec.Kind kind, long key, long first, int layers) {
        long address = master.address() + from * 4;
        switch (kind) {
            case NORM -> {
                for (long at = 0; at < count; at += CHUNK) {
                    FloatBuffer out = floats(master, from + at, (int) Math.min(CHUNK, count - at));
                    while (out.hasRemaining()) {
                        out.put(1f);
                    }
                }
            }
            case BIAS -> NativeCpu.fill(address, 0, count * 4);
            case WEIGHT -> NativeCpu.randomNormal(address, key, first, count, 0.02f);
            case RESIDUAL_WEIGHT -> {
                float deviation = (float) (0.02 / Math.sqrt(2.0 * layers));
                NativeCpu.randomNormal(address, key, first, count, deviation);
            }
        }
    }

    private static FloatBuffer floats(Tensor tensor, long from, int count) {
        return HostBytes.view(tensor.address() + from * 4, count * 4L).asFloatBuffer();
    }

    /** The tensors of the model under the names of its files, in file order, as {@link ParameterSpec.Source}s by name. */
    public static Map<String, ParameterSpec> bySourceName(List<UnitSpec> units) {
        return units.stream()
                .flatMap(u -> u.parameters().values().stream())
                .flatMap(p -> p.sources().stream().map(s -> Map.entry(s.name(), p)))
                .collect(Collectors.toMap(
                        Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, java.util.LinkedHashMap::new));
    }
}
