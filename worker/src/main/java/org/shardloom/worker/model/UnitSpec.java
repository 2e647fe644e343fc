package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A unit: parameters that are gathered, used and freed together, flat in one buffer.
 *
 * @param name {@code embedding}, {@code layers.3} or {@code head}
 * @param parameters by name, in the order of the buffer
 * @param elements of the buffer
 */
public record UnitSpec(String name, Map<String, ParameterSpec> parameters, long elements) {
    /** Each parameter starts at a multiple of this many elements: a cache line in a 16-bit dtype. */
    private static final long ALIGNMENT = 32;

    /** The parameter of that name. */
    public ParameterSpec parameter(String parameter) {
        ParameterSpec spec = parameters.get(parameter);
        if (spec == null) {
            throw new IllegalArgumentException("unit " + name + " has no parameter " + parameter);
        }
        return spec;
    }

    /** Number of trained values, without alignment. */
    public long parameterCount() {
        return parameters.values().stream().mapToLong(ParameterSpec::elements).sum();
    }

    /** Collects the parameters of a unit and lays them out. */
    static final class Builder {
        private final String name;
        private final Map<String, ParameterSpec> parameters = new LinkedHashMap<>();
        private long offset;

        Builder(String name) {
            this.name = name;
        }

        /** A parameter whose rows come from one tensor, or from several of equal width one after the other. */
        Builder add(String parameter, ParameterSpec.Kind kind, long columns, Object... namesAndRows) {
            List<ParameterSpec.Source> sources = new ArrayList<>();
            long rows = 0;
            for (int i = 0; i < namesAndRows.length; i += 2) {
                long count = ((Number) namesAndRows[i + 1]).longValue();
                sources.add(new ParameterSpec.Source((String) namesAndRows[i], rows, count));
                rows += count;
            }
            parameters.put(parameter, new ParameterSpec(parameter, rows, columns, offset, kind, sources));
            offset = (offset + rows * columns + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            return this;
        }

        UnitSpec build() {
            return new UnitSpec(name, java.util.Collections.unmodifiableMap(new LinkedHashMap<>(parameters)), offset);
        }
    }
}
