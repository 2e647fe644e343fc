package org.shardloom.deploy.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.collective.aeron.AeronCollectives;
import org.shardloom.kernels.collective.aeron.AeronOptions;
import org.shardloom.kernels.collective.nccl.AloneOnDevice;
import org.shardloom.kernels.collective.nccl.NcclCollectives;
import org.shardloom.kernels.collective.shm.ShmCollectives;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.device.Device;

/**
 * What all ranks of a benchmark do: exactly one of its parts is there.
 *
 * @param size number of ranks
 * @param transport {@code shm} or {@code aeron}; ranks on GPUs use NCCL whatever it is
 * @param secret of the group, hexadecimal
 */
record RankTask(int size, String transport, String secret, StepRank.Setup step, CollectivesRank.Setup collectives) {
    private static final Duration TIMEOUT = Duration.ofSeconds(120);
    private static final String LOOPBACK = "127.0.0.1";

    /** Does it and returns what is to be reported. */
    Object run(Path directory, int rank) throws IOException {
        if (step != null) {
            return StepRank.run(step, device -> join(directory, rank, device));
        }
        return CollectivesRank.run(collectives, join(directory, rank, null));
    }

    private Collectives join(Path directory, int rank, Device device) {
        FileRendezvous meeting = new FileRendezvous(directory, rank, size, TIMEOUT);
        if (device instanceof CudaDevice gpu) {
            return size == 1
                    ? new AloneOnDevice(gpu)
                    : NcclCollectives.join(
                            meeting,
                            rank,
                            size,
                            gpu,
                            TIMEOUT,
                            new AbortSignal(),
                            step.model().fixedOrder());
        }
        if (size == 1) {
            return new LocalCollectives();
        }
        if (transport.equals("shm")) {
            return ShmCollectives.join(meeting, rank, size, TIMEOUT);
        }
        AeronOptions options = AeronOptions.defaults(LOOPBACK, size - 1).in(directory);
        byte[] bytes = java.util.HexFormat.of().parseHex(secret);
        return AeronCollectives.join(meeting, rank, size, LOOPBACK, bytes, TIMEOUT, options, new AbortSignal());
    }
}
