package org.shardloom.protocol.config;

import java.util.List;

/**
 * The update rule.
 *
 * @param type the algorithm
 * @param beta1 decay of the first moment, in [0, 1)
 * @param beta2 decay of the second moment, in [0, 1)
 * @param eps added to the denominator
 * @param weightDecay decoupled weight decay
 * @param noDecay name patterns of parameters that are not decayed
 */
public record OptimizerConfig(
        Type type, double beta1, double beta2, double eps, double weightDecay, List<String> noDecay) {

    /** Copies the list. */
    public OptimizerConfig {
        noDecay = List.copyOf(noDecay);
    }

    /** The algorithm. */
    public enum Type {
        /** Adam with decoupled weight decay. */
        ADAMW
    }
}
