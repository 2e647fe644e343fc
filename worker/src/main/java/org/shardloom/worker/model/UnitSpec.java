package org.shardloom.worker.model;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.kernels.device.QuantizedOps;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.protocol.plan.UnitSize;

/**
 * A unit: parameters that are gathered, used and freed together, flat in one buffer.
 *
 * @param name {@code embedding}, {@code layers.3} or {@code head}; {@code layers.3.lora} or {@code layers.3.prefix} for what a tuning
 *     method adds
 * @param block part of the model that it serves, in the order of the forward pass: 0 the embedding, then the layers, then the head;
 *     {@link TunedModel#prefixBlock} for what all layers use
 * @param trained whether its parameters are trained; those of a frozen unit never change and have no optimizer state
 * @param added whether a tuning method adds it to the model, whose files do not have it
 * @param fp32 whether it is computed in fp32 whatever the training dtype
 * @param quantization how a frozen unit is kept while it is not used
 * @param parameters by name, in the order of the buffer
 * @param elements of the buffer
 */
public record UnitSpec(
        String name,
        int block,
        boolean trained,
        boolean added,
        boolean fp32,
        Quantization quantization,
        Map<String, ParameterSpec> parameters,
        long elements) {
    /**
     * Parameters and slices of a quantised unit start at multiples of this many elements: a block of scales, so that what a value becomes
     * does not depend on how the unit is cut.
     */
    public static final long QUANTIZED_ALIGNMENT = (long) QuantizedOps.BLOCK * QuantizedOps.SCALES_BLOCK;
    /** Each parameter starts at a multiple of this many elements: a cache line in a 16-bit dtype. */
    private static final long ALIGNMENT = 32;
    /** Ends of the names of the two parts of a unit that is trained in part. */
    public static final String FROZEN = ".frozen";

    public static final String TRAINED = ".trained";
    public static final String QUANTIZED = ".quantized";

    /** The parameter of that name. */
    public ParameterSpec parameter(String parameter) {
        ParameterSpec spec = parameters.get(parameter);
        if (spec == null) {
            throw new IllegalArgumentException("unit " + name + " has no parameter " + parameter);
        }
        return spec;
    }

    /** The name of the unit that this was cut from, or its own: what its random start depends on. */
    public String root() {
        boolean part = name.endsWith(FROZEN) || name.endsWith(TRAINED) || name.endsWith(QUANTIZED);
        return part ? name.substring(0, name.lastIndexOf('.')) : name;
    }

    /** The same unit, trained or frozen. */
    public UnitSpec withTrained(boolean value) {
        return new UnitSpec(name, block, value, added, fp32, quantization, parameters, elements);
    }

    /** How it is cut over ranks. */
    public UnitSize size() {
        return quantization == Quantization.NONE
                ? new UnitSize(name, elements)
                : new UnitSize(name, elements, QUANTIZED_ALIGNMENT);
    }

    /** Number of values, without alignment. */
    public long parameterCount() {
        return parameters.values().stream().mapToLong(ParameterSpec::elements).sum();
    }

    /** Collects the parameters of a unit and lays them out. */
    public static final class Builder {
        private final String name;
        private final int block;
        private boolean trained = true;
        private boolean added;
        private boolean fp32;
        private Quantization quantization = Quantization.NONE;
        private long alignment = ALIGNMENT;
        private final Map<String, ParameterSpec> parameters = new LinkedHashMap<>();
        private long offset;

        /** A trained unit of the block, in the training dtype. */
        public Builder(String name, int block) {
            this.name = name;
            this.block = block;
        }

        /** Whether it is trained. */
        public Builder trained(boolean value) {
            trained = value;
            return this;
        }

        /** Not the model's own. */
        public Builder added() {
            added = true;
            return this;
        }

        /** Computed in fp32. */
        public Builder inFp32() {
            fp32 = true;
            return this;
        }

        /** Kept quantised; before anything is added. */
        public Builder quantized(Quantization how) {
            quantization = how;
            alignment = QUANTIZED_ALIGNMENT;
            return this;
        }

        /** A parameter whose rows come from one tensor, or from several of equal width one after the other. */
        public Builder add(String parameter, ParameterSpec.Kind kind, long columns, Object... namesAndRows) {
            List<ParameterSpec.Source> sources = new ArrayList<>();
            long rows = 0;
            for (int i = 0; i < namesAndRows.length; i += 2) {
                long count = ((Number) namesAndRows[i + 1]).longValue();
                sources.add(new ParameterSpec.Source((String) namesAndRows[i], rows, count));
                rows += count;
            }
            return add(parameter, kind, rows, columns, sources);
        }

        /** A parameter whose rows are some of a tensor's, from that one on, which has so many in all. */
        public Builder addRows(
                String parameter, ParameterSpec.Kind kind, long columns, String name, long rows, long from, long of) {
            return add(parameter, kind, rows, columns, List.of(new ParameterSpec.Source(name, 0, rows, from, of)));
        }

        /** The same parameter of another unit, laid out anew. */
        public Builder add(ParameterSpec p) {
            return add(p.name(), p.kind(), p.rows(), p.columns(), p.sources());
        }

        private Builder add(
                String parameter,
                ParameterSpec.Kind kind,
                long rows,
                long columns,
                List<ParameterSpec.Source> sources) {
            parameters.put(parameter, new ParameterSpec(parameter, rows, columns, offset, kind, sources));
            offset = (offset + rows * columns + alignment - 1) / alignment * alignment;
            return this;
        }

        /** Whether nothing was added. */
        public boolean isEmpty() {
            return parameters.isEmpty();
        }

        /** The unit. */
        public UnitSpec build() {
            return new UnitSpec(
                    name,
                    block,
                    trained,
                    added,
                    fp32,
                    quantization,
                    Collections.unmodifiableMap(new LinkedHashMap<>(parameters)),
                    offset);
        }
    }
}
