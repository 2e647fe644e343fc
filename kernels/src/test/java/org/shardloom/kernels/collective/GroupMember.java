package org.shardloom.kernels.collective;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.shardloom.kernels.collective.aeron.AeronCollectives;
import org.shardloom.kernels.collective.nccl.NcclCollectives;
import org.shardloom.kernels.collective.shm.ShmCollectives;
import org.shardloom.kernels.cuda.CachedImages;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** One rank in a process of its own: reduces again and again until that fails, and tells about it on its output. */
public final class GroupMember {
    private GroupMember() {}

    /** Arguments: transport, rank, size, directory to meet in, limit in seconds. */
    public static void main(String[] args) throws IOException {
        int rank = Integer.parseInt(args[1]);
        int size = Integer.parseInt(args[2]);
        Duration limit = Duration.ofSeconds(Long.parseLong(args[4]));
        Rendezvous meeting = (key, offer) -> meet(Path.of(args[3]), rank, size, offer);
        // As the environment has it, a simulated one.
        CudaDevice device = args[0].equals("nccl") ? new CudaDevice(0, CachedImages.in(Path.of(args[3]))) : null;
        Collectives group =
                switch (args[0]) {
                    case "shm" -> ShmCollectives.join(meeting, rank, size, limit);
                    case "nccl" -> NcclCollectives.join(meeting, rank, size, device, limit, new AbortSignal(), true);
                    default -> AeronCollectives.join(meeting, rank, size, "127.0.0.1", new byte[32], limit);
                };
        Tensor tensor = group.allocateShared(DType.F32, 1 << 20);
        long start = System.nanoTime();
        try {
            for (int i = 0; ; i++) {
                start = System.nanoTime();
                group.allReduce(tensor).await();
                if (device != null) {
                    device.synchronize();
                }
                if (i == 3) {
                    System.out.println("RUNNING");
                }
            }
        } catch (CollectiveException e) {
            System.out.println("FAILED after " + (System.nanoTime() - start) / 1_000_000 + " ms: " + e.getMessage());
        }
        group.close();
        if (device != null) {
            device.close();
        }
        System.out.println("LEFT " + sharedFiles());
    }

    /** What this process still has open or mapped of shared memory. */
    private static long sharedFiles() throws IOException {
        long open = 0;
        try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"))) {
            for (Path descriptor : descriptors.toList()) {
                try {
                    open += Files.readSymbolicLink(descriptor).toString().contains("shardloom") ? 1 : 0;
                } catch (IOException e) {
                    // the listing's own descriptor
                }
            }
        }
        return open
                + Files.readAllLines(Path.of("/proc/self/maps")).stream()
                        .filter(line -> line.contains("memfd:shardloom") || line.contains("shardloom-aeron"))
                        .count();
    }

    private static List<byte[]> meet(Path directory, int rank, int size, byte[] offer) {
        try {
            Path own = Files.write(directory.resolve("writing-" + rank), offer);
            Files.move(own, directory.resolve("offer-" + rank), StandardCopyOption.ATOMIC_MOVE);
            List<byte[]> offers = new ArrayList<>();
            for (int r = 0; r < size; r++) {
                while (!Files.exists(directory.resolve("offer-" + r))) {
                    Thread.sleep(5);
                }
                offers.add(Files.readAllBytes(directory.resolve("offer-" + r)));
            }
            return offers;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new CollectiveException("interrupted", e);
        }
    }
}
