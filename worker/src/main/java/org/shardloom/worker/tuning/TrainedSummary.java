package org.shardloom.worker.tuning;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/** Says what of a model is trained: by name with layers taken together, with counts and their share of the model. */
public final class TrainedSummary {
    /** fp32 master weight, two moments, gradient sum. */
    private static final int STATE_BYTES = 16;

    private TrainedSummary() {}

    /** One line a pattern of names, the total first. */
    public static List<String> lines(TunedModel model) {
        long own = model.units().stream()
                .filter(u -> !u.added())
                .mapToLong(UnitSpec::parameterCount)
                .sum();
        long trained =
                model.trained().stream().mapToLong(UnitSpec::parameterCount).sum();
        List<String> lines = new ArrayList<>();
        lines.add(String.format(
                Locale.ROOT,
                "trained: %,d parameters, %.4g %% of the model's %,d",
                trained,
                100.0 * trained / own,
                own));
        lines.add(String.format(
                Locale.ROOT,
                "  over all workers: %,d bytes of master weights, moments and gradient sums",
                trained * STATE_BYTES));
        quantized(model).ifPresent(lines::add);
        Map<String, TreeSet<Integer>> layers = new LinkedHashMap<>();
        Map<String, Long> counts = new LinkedHashMap<>();
        for (UnitSpec unit : model.trained()) {
            for (ParameterSpec p : unit.parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    String pattern = s.name().replaceFirst("layers\\.\\d+\\.", "layers.*.");
                    counts.merge(pattern, s.rows() * p.columns(), Long::sum);
                    layers.computeIfAbsent(pattern, name -> new TreeSet<>()).add(unit.block() - 1);
                }
            }
        }
        counts.forEach((pattern, count) -> lines.add(String.format(
                Locale.ROOT,
                "  %s%s: %,d, %.4g %%",
                pattern,
                pattern.contains("layers.*.") ? " (layers " + ranges(layers.get(pattern)) + ")" : "",
                count,
                100.0 * count / own)));
        return lines;
    }

    /** What the matrices that are kept in four bits take, scales and alignment included. */
    private static Optional<String> quantized(TunedModel model) {
        long parameters = 0;
        long bytes = 0;
        for (UnitSpec unit : model.units()) {
            if (unit.quantization() != Quantization.NONE) {
                long step = UnitSpec.QUANTIZED_ALIGNMENT;
                long elements = (unit.elements() + step - 1) / step * step;
                long scales = elements / QuantizedOps.BLOCK;
                boolean twice = unit.quantization() == Quantization.NF4_DOUBLE;
                parameters += unit.parameterCount();
                bytes += elements / 2 + (twice ? scales + scales / QuantizedOps.SCALES_BLOCK * 4 : scales * 4);
            }
        }
        return parameters == 0
                ? Optional.empty()
                : Optional.of(String.format(
                        Locale.ROOT,
                        "  kept in NF4: %,d parameters in %,d bytes, %.3f bits each",
                        parameters,
                        bytes,
                        8.0 * bytes / parameters));
    }

    /** 0-3, 5 */
    private static String ranges(TreeSet<Integer> numbers) {
        List<String> ranges = new ArrayList<>();
        Integer first = null;
        Integer last = null;
        for (int n : numbers) {
            if (last != null && n == last + 1) {
                last = n;
                continue;
            }
            if (first != null) {
                ranges.add(first.equals(last) ? "" + first : first + "-" + last);
            }
            first = n;
            last = n;
        }
        ranges.add(first.equals(last) ? "" + first : first + "-" + last);
        return String.join(", ", ranges);
    }
}
