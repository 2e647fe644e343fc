package org.shardloom.worker.model;

import java.util.List;

/**
 * A parameter of a unit.
 *
 * @param name within the unit: {@code attention.qkv.weight}
 * @param rows first axis
 * @param columns second axis; 1 for a vector
 * @param offset of its first element in the unit's flat buffer
 * @param kind how it starts when a model is made at random
 * @param sources the tensors of a checkpoint file that make it up, in row order
 */
public record ParameterSpec(String name, long rows, long columns, long offset, Kind kind, List<Source> sources) {
    /** How a parameter is initialised at random. */
    public enum Kind {
        /** Normal, standard deviation 0.02. */
        WEIGHT,
        /** Normal, standard deviation 0.02 / sqrt(2 layers): projections that add to the residual path. */
        RESIDUAL_WEIGHT,
        /** Ones. */
        NORM,
        /** Zeros. */
        BIAS
    }

    /**
     * Consecutive rows of a parameter under the name that checkpoint files give them.
     *
     * @param name of the tensor in files
     * @param firstRow of the parameter that it fills
     * @param rows number of rows
     */
    public record Source(String name, long firstRow, long rows) {}

    public ParameterSpec {
        sources = List.copyOf(sources);
    }

    public long elements() {
        return rows * columns;
    }

    /** The shape that files give a source: one axis for vectors. */
    public List<Long> shapeOf(Source source) {
        return kind == Kind.NORM || kind == Kind.BIAS ? List.of(source.rows) : List.of(source.rows, columns);
    }
}
