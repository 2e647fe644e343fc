package org.shardloom.protocol.plan;

/**
 * A unit of a model as sharding sees it.
 *
 * @param name for messages and files: {@code embedding}, {@code layers.3}, {@code head}
 * @param elements of its flat buffer before padding to the world size
 */
public record UnitSize(String name, long elements) {}
