package org.shardloom.worker.loop;

import java.time.Duration;
import java.util.List;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.collective.aeron.AeronCollectives;
import org.shardloom.kernels.collective.aeron.AeronOptions;
import org.shardloom.kernels.collective.nccl.AloneOnDevice;
import org.shardloom.kernels.collective.nccl.NcclCollectives;
import org.shardloom.kernels.collective.shm.ShmCollectives;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.device.Device;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.RunSecret;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Forms groups: one rank alone, GPUs through NCCL, ranks of one host through shared memory, ranks of several hosts over Aeron. */
final class Groups {
    /** Over a network a step in which nothing moves for so long has failed. */
    private static final Duration NETWORK_TIMEOUT = Duration.ofMinutes(2);

    private static final Logger LOG = LoggerFactory.getLogger(Groups.class);

    private Groups() {}

    /** As {@link #join}, of ranks whose tensors are their devices'. */
    static Collectives ofDevices(
            Device device,
            boolean fixedOrder,
            Rendezvous rendezvous,
            List<Member> members,
            int rank,
            RunSecret secret,
            Duration timeout,
            AbortSignal signal) {
        if (device instanceof CudaDevice gpu) {
            if (members.size() == 1) {
                return new AloneOnDevice(gpu);
            }
            LOG.info("rank {} of {} exchanges tensors through NCCL, on {}", rank, members.size(), gpu.identity());
            return NcclCollectives.join(rendezvous, rank, members.size(), gpu, timeout, signal, fixedOrder);
        }
        return join(rendezvous, members, rank, secret, timeout, signal);
    }

    /**
     * Joins the group of the members, whose position in the list is their rank.
     *
     * @param timeout of its operations
     * @param signal gives it up, also while it is being formed
     */
    static Collectives join(
            Rendezvous rendezvous,
            List<Member> members,
            int rank,
            RunSecret secret,
            Duration timeout,
            AbortSignal signal) {
        if (members.size() == 1) {
            return new LocalCollectives();
        }
        if (members.stream().map(Member::hostKey).distinct().count() == 1) {
            LOG.info("rank {} of {} exchanges tensors through shared memory", rank, members.size());
            return ShmCollectives.join(rendezvous, rank, members.size(), timeout, signal);
        }
        LOG.info("rank {} of {} exchanges tensors over Aeron", rank, members.size());
        Duration shorter = timeout.compareTo(NETWORK_TIMEOUT) < 0 ? timeout : NETWORK_TIMEOUT;
        String host = members.get(rank).host();
        return AeronCollectives.join(
                rendezvous,
                rank,
                members.size(),
                host,
                secret.bytes(),
                shorter,
                AeronOptions.defaults(host, members.size() - 1),
                signal);
    }
}
