/**
 * The ZeRO engine (Rajbhandari et al., 2020): parameters gathered unit by unit, gradients reduce-scattered as backward produces them,
 * the optimizer on each rank's own slice. Issues the collectives of a step.
 */
package org.shardloom.worker.zero;
