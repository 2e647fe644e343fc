package org.shardloom.worker.tokenizer;

import java.util.OptionalInt;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;

/**
 * What all tokenizers over a native library share: their fixed ids, the range of ids, and that nobody uses native memory
 * that another thread is freeing.
 */
abstract class NativeTokenizer implements Tokenizer {
    private final Family family;
    private final BoundaryIds boundaries;
    private final int vocabularySize;
    private final String fingerprint;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private boolean closed;

    NativeTokenizer(Family family, BoundaryIds boundaries, int vocabularySize, String fingerprint) {
        this.family = family;
        this.boundaries = boundaries;
        this.vocabularySize = vocabularySize;
        this.fingerprint = fingerprint;
    }

    /** Implements {@link #encode}; the native library is open. */
    abstract int[] encodeOpen(String text);

    /** Implements {@link #encodeWithSpecials}; the native library is open. */
    abstract int[] encodeWithSpecialsOpen(String text);

    /** Implements {@link #decode} for ids in range; the native library is open. */
    abstract String decodeOpen(int[] ids);

    /** Frees native memory; called once. */
    abstract void free();

    @Override
    public final Family family() {
        return family;
    }

    @Override
    public final int[] encode(String text) {
        return whileOpen(() -> encodeOpen(text));
    }

    @Override
    public final int[] encodeWithSpecials(String text) {
        return whileOpen(() -> encodeWithSpecialsOpen(text));
    }

    @Override
    public final String decode(int[] ids) {
        return whileOpen(() -> {
            for (int id : ids) {
                if (id < 0 || id >= vocabularySize) {
                    throw new IllegalArgumentException("token id " + id + " is not in 0.." + (vocabularySize - 1));
                }
            }
            return decodeOpen(ids);
        });
    }

    @Override
    public final int vocabularySize() {
        return vocabularySize;
    }

    @Override
    public final OptionalInt bosId() {
        return boundaries.bos();
    }

    @Override
    public final int eosId() {
        return boundaries.eos();
    }

    @Override
    public final int padId() {
        return boundaries.pad();
    }

    @Override
    public final String fingerprint() {
        return fingerprint;
    }

    @Override
    public final void close() {
        lock.writeLock().lock();
        try {
            if (!closed) {
                closed = true;
                free();
            }
        } finally {
            lock.writeLock().unlock();
        }
    }

    private <T> T whileOpen(Supplier<T> use) {
        lock.readLock().lock();
        try {
            if (closed) {
                throw new IllegalStateException("the tokenizer is closed");
            }
            return use.get();
        } finally {
            lock.readLock().unlock();
        }
    }
}
