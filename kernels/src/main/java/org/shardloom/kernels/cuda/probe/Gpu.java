package org.shardloom.kernels.cuda.probe;

import java.util.Locale;
import java.util.Optional;
import java.util.Set;

/**
 * A device as the driver counts it: those that CUDA_VISIBLE_DEVICES leaves.
 *
 * @param ordinal from 0
 * @param uuid as in GPU-01234567-89ab-...
 * @param pciBusId as in 0000:01:00.0
 * @param major compute capability
 * @param minor compute capability
 * @param totalBytes of memory
 * @param peers ordinals of the devices whose memory it can reach
 */
public record Gpu(
        int ordinal,
        String name,
        String uuid,
        String pciBusId,
        int major,
        int minor,
        long totalBytes,
        Set<Integer> peers) {
    /** Compute capability from which on there is bf16, which the kernels need. */
    private static final int NEEDED_MAJOR = 8;

    public Gpu {
        pciBusId = sameForm(pciBusId);
        peers = Set.copyOf(peers);
    }

    /** Why the kernels do not run on it, in a few words; nothing where they do. */
    public Optional<String> unfit() {
        return major >= NEEDED_MAJOR
                ? Optional.empty()
                : Optional.of("GPU " + ordinal + " has compute capability " + major + "." + minor + ", " + NEEDED_MAJOR
                        + ".0 is needed");
    }

    /** The driver writes a domain of four digits and NVML one of eight. */
    static String sameForm(String busId) {
        String lower = busId.strip().toLowerCase(Locale.ROOT);
        return lower.matches("0000[0-9a-f]{4}:.*") ? lower.substring(4) : lower;
    }
}
