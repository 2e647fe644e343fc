/**
 * Collective operations between the ranks of a group: meeting ({@code Rendezvous}), moving bytes and reducing are separate.
 *
 * <p>Every rank issues the same operations in the same order. Sums are taken in rank order, so they repeat exactly. No operation
 * outlives an abort or its time limit.
 */
package org.shardloom.kernels.collective;
