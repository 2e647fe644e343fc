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
    /** How a parameter is initialised at random, and whether files hold it as a vector. */
    public enum Kind {
        /** Normal, standard deviation 0.02. */
        WEIGHT,
        /** Normal, standard deviation 0.02 / sqrt(2 layers): projections that add to the residual path. */
        RESIDUAL_WEIGHT,
        /** Ones. */
        NORM,
        /** Zeros. */
        BIAS,
        /** Normal, with the variance of PyTorch's default for linear layers, 1 / (3 columns). */
        LINEAR,
        /** A matrix of zeros: an adapter that changes nothing at first. */
        ZERO,
        /** Normal, standard deviation 1: PyTorch's default for embeddings. */
        TABLE;

        /** Whether it has one axis. */
        public boolean isVector() {
            return this == NORM || this == BIAS;
        }
    }

    /**
     * Consecutive rows of a parameter under the name that checkpoint files give them.
     *
     * @param name of the tensor in files
     * @param firstRow of the parameter that it fills
     * @param rows number of rows
     * @param fileRow the tensor's first row among them
     * @param fileRows rows of the tensor
     */
    public record Source(String name, long firstRow, long rows, long fileRow, long fileRows) {
        /** A whole tensor. */
        public Source(String name, long firstRow, long rows) {
            this(name, firstRow, rows, 0, rows);
        }
    }

    public ParameterSpec {
        sources = List.copyOf(sources);
    }

    public long elements() {
        return rows * columns;
    }

    /** The shape of the source's tensor in files: one axis for vectors. */
    public List<Long> shapeOf(Source source) {
        return kind.isVector() ? List.of(source.fileRows) : List.of(source.fileRows, columns);
    }
}
