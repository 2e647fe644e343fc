package org.shardloom.protocol.config;

/**
 * What is sharded over the workers.
 *
 * @param stage 2 shards gradients and optimizer state; 3 shards the parameters too
 * @param offloadOptimizer whether optimizer state lives in host memory
 * @param offloadParams whether parameter shards live in host memory between uses; stage 3 only
 * @param fixedOrder whether GPUs add gradients in the order of ranks, so that sums repeat exactly; processors always do
 */
public record ZeroConfig(int stage, boolean offloadOptimizer, boolean offloadParams, boolean fixedOrder) {}
