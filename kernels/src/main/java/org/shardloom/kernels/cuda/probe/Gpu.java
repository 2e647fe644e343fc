package org.shardloom.kernels.cuda.probe;

import java.util.Locale;
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
    public Gpu {
        pciBusId = sameForm(pciBusId);
        peers = Set.copyOf(peers);
    }

    /** The driver writes a domain of four digits and NVML one of eight. */
    static String sameForm(String busId) {
        String lower = busId.strip().toLowerCase(Locale.ROOT);
        return lower.matches("0000[0-9a-f]{4}:.*") ? lower.substring(4) : lower;
    }
}
