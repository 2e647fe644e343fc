/**
 * How fast this machine is at what a run does: {@code shardloom bench step|gemm|adam|collectives|checkpoint}.
 *
 * <p>One class per benchmark and one for its options. Benchmarks of several ranks run each rank in a process of its own
 * ({@link org.shardloom.deploy.bench.BenchRankCommand}), as a run does; ranks meet through files in a directory that is theirs alone.
 */
package org.shardloom.deploy.bench;
