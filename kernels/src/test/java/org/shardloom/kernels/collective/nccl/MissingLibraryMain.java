package org.shardloom.kernels.collective.nccl;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.cuda.CachedImages;
import org.shardloom.kernels.cuda.CudaDevice;

/** Tries to join a group twice, and says why that failed. */
public final class MissingLibraryMain {
    private MissingLibraryMain() {}

    public static void main(String[] args) {
        try (CudaDevice device = new CudaDevice(0, CachedImages.in(Path.of(args[0])))) {
            for (int i = 0; i < 2; i++) {
                try {
                    NcclCollectives.join(
                                    (key, offer) -> List.of(offer),
                                    0,
                                    1,
                                    device,
                                    Duration.ofSeconds(5),
                                    new AbortSignal(),
                                    false)
                            .close();
                    System.out.println("joined");
                } catch (CollectiveException e) {
                    System.out.println(e.getMessage());
                }
            }
        }
    }
}
