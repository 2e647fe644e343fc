package org.shardloom.worker.model;

/**
 * A low-rank adapter on rows of a layer's linear map: y[:, firstRow : firstRow + rows] += scale * B A dropout(x).
 *
 * @param weight name of the map's weight within a layer: {@code qkv.weight}
 * @param firstRow of the weight that it acts on
 * @param rows number of them, N
 * @param a name of A [rank, K] within the layer's block
 * @param b name of B [N, rank]
 */
public record LoraSite(String weight, long firstRow, long rows, String a, String b) {}
