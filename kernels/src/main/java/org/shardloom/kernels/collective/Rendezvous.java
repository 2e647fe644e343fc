package org.shardloom.kernels.collective;

import java.util.List;

/** How the ranks of a group find each other before they can exchange anything. */
@FunctionalInterface
public interface Rendezvous {
    /**
     * Gives every rank what every rank offered under the key, by rank. Blocks until all have.
     *
     * @param key of this exchange, the same on all ranks and used once
     * @param offer a few hundred bytes at most
     * @throws CollectiveException when the group is given up first, or time runs out
     */
    List<byte[]> exchange(String key, byte[] offer);
}
