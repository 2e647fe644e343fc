package org.shardloom.worker.model;

import org.shardloom.kernels.tensor.Tensor;

/**
 * A unit's parameters, or their gradients, in a flat buffer.
 *
 * @param spec what lies where
 * @param flat at least {@code spec.elements()} elements
 */
public record UnitView(UnitSpec spec, Tensor flat) {
    /** The parameter as a tensor: a vector for norms and biases, [rows, columns] otherwise. */
    public Tensor get(String name) {
        ParameterSpec p = spec.parameter(name);
        Tensor part = flat.slice(p.offset(), p.elements());
        return p.kind().isVector() ? part : part.reshape(p.rows(), p.columns());
    }
}
