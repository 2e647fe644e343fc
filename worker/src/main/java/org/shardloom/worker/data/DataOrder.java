package org.shardloom.worker.data;

/**
 * Which sample comes when: a pure function of seed, epoch and position, the same on every worker and after every restart.
 *
 * <p>Positions run on over epochs: position {@code epoch * samples + i} is the i-th sample of that epoch. Each epoch is a
 * permutation of all samples, drawn by Fisher and Yates's method with numbers of {@link SplitMix64}. Safe for use by several
 * threads.
 */
public final class DataOrder {
    private final long seed;
    private final int samples;
    private final boolean shuffle;
    // The last two epochs asked for: a batch may straddle two.
    private long cachedEpoch = -1;
    private int[] cached;
    private long olderEpoch = -1;
    private int[] older;

    /**
     * @param seed the job's seed
     * @param samples the number of samples, at least one
     * @param shuffle false: every epoch is in file order
     */
    public DataOrder(long seed, int samples, boolean shuffle) {
        if (samples < 1) {
            throw new IllegalArgumentException("a data order needs at least one sample, not " + samples);
        }
        this.seed = seed;
        this.samples = samples;
        this.shuffle = shuffle;
    }

    /** The number of samples in an epoch. */
    public int samples() {
        return samples;
    }

    /** The epoch, from 0, of a position. */
    public long epochOf(long position) {
        if (position < 0) {
            throw new IllegalArgumentException("position " + position);
        }
        return position / samples;
    }

    /**
     * The number of the sample at a position.
     *
     * @param position from 0, running on over epochs
     */
    public int sampleAt(long position) {
        long epoch = epochOf(position);
        int index = (int) (position % samples);
        return shuffle ? cachedPermutation(epoch)[index] : index;
    }

    /**
     * The order of one epoch.
     *
     * @param epoch from 0
     * @return a fresh array [samples]
     */
    public int[] permutation(long epoch) {
        int[] order = new int[samples];
        for (int i = 0; i < samples; i++) {
            order[i] = i;
        }
        if (!shuffle) {
            return order;
        }
        long stream = SplitMix64.stream(seed, epoch);
        for (int i = samples - 1; i > 0; i--) {
            // The high part of a 63-bit random number times (i + 1): uniform on 0..i to within i / 2^63.
            int j = (int) Math.multiplyHigh(SplitMix64.bits(stream, samples - 1 - i) >>> 1, (long) (i + 1) << 1);
            int swapped = order[i];
            order[i] = order[j];
            order[j] = swapped;
        }
        return order;
    }

    private synchronized int[] cachedPermutation(long epoch) {
        if (epoch == cachedEpoch) {
            return cached;
        }
        int[] wanted = epoch == olderEpoch ? older : permutation(epoch);
        olderEpoch = cachedEpoch;
        older = cached;
        cachedEpoch = epoch;
        cached = wanted;
        return wanted;
    }
}
