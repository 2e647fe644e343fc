/**
 * The ZeRO engine (Rajbhandari et al., 2020): parameters gathered unit by unit, gradients reduce-scattered as backward produces them,
 * the optimizer on each rank's own slice. The only package that issues collectives.
 */
package org.shardloom.worker.zero;
