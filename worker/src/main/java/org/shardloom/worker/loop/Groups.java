package org.shardloom.worker.loop;

import java.time.Duration;
import java.util.List;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.collective.shm.ShmCollectives;
import org.shardloom.protocol.message.Member;

/** Forms groups: one rank alone, ranks of one host through shared memory. */
final class Groups {
    private Groups() {}

    /**
     * Joins the group of the members, whose position in the list is their rank.
     *
     * @param timeout of its operations
     */
    static Collectives join(Rendezvous rendezvous, List<Member> members, int rank, Duration timeout) {
        if (members.size() == 1) {
            return new LocalCollectives();
        }
        return ShmCollectives.join(rendezvous, rank, members.size(), timeout);
    }
}
