/**
 * Collectives between hosts, over Aeron (UDP).
 *
 * <p>Every rank runs a media driver of its own, in its process, and has one subscription and one publication to each peer: a full
 * mesh of links, each an ordered stream. {@code Mesh} moves one step of messages over all links at once; {@code AeronCollectives}
 * builds the operations from steps. An operation's number, name and sizes travel with its bytes, so that ranks out of step fail
 * rather than mix their data.
 *
 * <p>Packets are as large as the networks at the two ends carry, since the cost of a packet hardly depends on its size: Ethernet with
 * jumbo frames is several times as fast as without. Of the system, UDP buffers of 2 MiB are asked for ({@code net.core.rmem_max},
 * {@code net.core.wmem_max}); with less, windows and packets shrink.
 *
 * <p>A link carries data only after a hello that proves possession of the run's secret for this one meeting, and every frame after
 * it carries a tag that only members can compute. That keeps out whoever cannot see the traffic. Bytes are neither encrypted nor
 * authenticated one by one: whoever can read and forge packets on the hosts' network can read and change tensors.
 *
 * <p>Aeron needs {@code --add-opens java.base/jdk.internal.misc=ALL-UNNAMED} on the command line of the JVM.
 */
package org.shardloom.kernels.collective.aeron;
