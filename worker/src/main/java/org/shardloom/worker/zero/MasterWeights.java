package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsException;

/** Fills a rank's slices of weights from checkpoint files, reading only what the rank owns, or at random. */
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
        List<String> problems = problems(units, source);
        if (!problems.isEmpty()) {
            throw new WeightsException(where + ": the weights do not fit the model:\n  "
                    + problems.stream().limit(40).collect(Collectors.joining("\n  "))
                    + (problems.size() > 40 ? "\n  and " + (problems.size() - 40) + " more" : ""));
        }
    }

    /** What does not fit, each beginning with its kind: {@code missing: }, {@code shape: }, {@code type: } or {@code extra: }. */
    public static List<String> problems(List<UnitSpec> units, TensorSource source) {
        Set<String> problems = new LinkedHashSet<>(); // a tensor that several units share is named once
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
        return List.copyOf(problems);
    }

    /** Where a unit's slice of a rank goes: fp32 or 16-bit, [slice elements]. */
    public interface Slices {
        /** The slice of a unit of the list that is being filled. */
        Tensor of(int unit);

        /** The device whose own memory the slice is in; null where it is the host's. */
        default Device device(int unit) {
            return null;
        }
    }

    /** Reads the rank's slices. */
    public static void load(List<UnitSpec> units, ShardPlan plan, int rank, TensorSource source, Slices slices)
            throws IOException {
        for (int u = 0; u < units.size(); u++) {
            Interval slice = plan.owned(u, rank);
            for (ParameterSpec p : units.get(u).parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    long start = p.offset() + s.firstRow() * p.columns();
                    Interval common = slice.intersect(new Interval(start, start + s.rows() * p.columns()));
                    fill(
                            slices.of(u),
                            slices.device(u),
                            slice,
                            common,
                            (from, to) -> source.read(s.name(), from - start + s.fileRow() * p.columns(), view(to)));
                }
            }
        }
    }

    /**
     * Draws the rank's slices. A value depends on the seed, the parameter and its position only, so every world size starts with the
     * same model.
     */
    public static void randomize(List<UnitSpec> units, ShardPlan plan, int rank, long seed, int layers, Slices slices) {
        for (int u = 0; u < units.size(); u++) {
            Interval slice = plan.owned(u, rank);
            for (ParameterSpec p : units.get(u).parameters().values()) {
                Interval common = slice.intersect(new Interval(p.offset(), p.offset() + p.elements()));
                long key = key(seed, units.get(u), p);
                fill(
                        slices.of(u),
                        slices.device(u),
                        slice,
                        common,
                        (from, to) -> draw(p, key, from - p.offset(), layers, to));
            }
        }
    }

    private interface Values<E extends Exception> {
        /** Fills the fp32 tensor with the unit's values from that position on. */
        void write(long from, Tensor to) throws E;
    }

    /** Writes values at the interval of the unit into the slice, in its dtype, a chunk at a time. */
    private static <E extends Exception> void fill(
            Tensor target, Device device, Interval slice, Interval wanted, Values<E> values) throws E {
        if (wanted.isEmpty()) {
            return;
        }
        long chunk = Math.min(CHUNK, wanted.length());
        DType dtype = target.dtype();
        try (HostBlocks memory = new HostBlocks()) {
            long staged = device == null ? 0 : memory.allocate(chunk * dtype.bytes);
            long scratch = dtype == DType.F32 ? 0 : memory.allocate(chunk * 4L);
            for (long at = wanted.from(); at < wanted.to(); at += chunk) {
                long count = Math.min(chunk, wanted.to() - at);
                Tensor out = target.slice(at - slice.from(), count);
                Tensor host = device == null ? out : new Tensor(staged, dtype, count);
                Tensor floats = scratch == 0 ? host : new Tensor(scratch, DType.F32, count);
                values.write(at, floats);
                if (scratch != 0) {
                    NativeCpu.convert(host.address(), dtype.code, scratch, DType.F32.code, count);
                }
                if (device != null) {
                    device.write(out, HostBytes.view(host.address(), host.bytes()));
                }
            }
        }
    }

    /** What the random values of a parameter depend on. */
    static long key(long seed, UnitSpec unit, ParameterSpec p) {
        return seed * 0x9E3779B97F4A7C15L ^ ((long) (unit.root() + "." + p.name()).hashCode() << 21);
    }

    /** Draws consecutive values of a parameter, from that one on, into an fp32 tensor. */
    static void draw(ParameterSpec p, long key, long first, int layers, Tensor to) {
        switch (p.kind()) {
            case NORM -> {
                FloatBuffer out = view(to);
                while (out.hasRemaining()) {
                    out.put(1f);
                }
            }
            case BIAS, ZERO -> NativeCpu.fill(to.address(), 0, to.bytes());
            case WEIGHT -> normal(to, key, first, 0.02);
            case RESIDUAL_WEIGHT -> normal(to, key, first, 0.02 / Math.sqrt(2.0 * layers));
            case LINEAR -> normal(to, key, first, 1 / Math.sqrt(3.0 * p.columns()));
            case TABLE -> normal(to, key, first, 1);
        }
    }

    private static void normal(Tensor to, long key, long first, double deviation) {
        NativeCpu.randomNormal(to.address(), key, first, to.elements(), (float) deviation);
    }

    private static FloatBuffer view(Tensor floats) {
        return HostBytes.view(floats.address(), floats.bytes()).asFloatBuffer();
    }
}
