package org.shardloom.worker.data;

/**
 * The SplitMix64 generator (Steele, Lea and Flood, 2014, "Fast Splittable Pseudorandom Number Generators"), spelled out here so
 * that no Java version can change what comes of a seed. It counts: the n-th number of a stream needs none of those before.
 */
public final class SplitMix64 {
    private static final long GAMMA = 0x9E3779B97F4A7C15L;

    private SplitMix64() {}

    /** One of a seed's streams: where its numbers start. */
    public static long stream(long seed, long number) {
        return mix(mix(seed + GAMMA) ^ (number + 1) * GAMMA);
    }

    /** The n-th number, from 0, of a stream: 64 random bits. */
    public static long bits(long stream, long n) {
        return mix(stream + (n + 1) * GAMMA);
    }

    private static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
