package org.shardloom.worker.data;

import java.util.Arrays;
import org.shardloom.worker.tokenizer.Tokenizer;

/** A growing list of ints, and what templates do with ids. */
final class Ids {
    private int[] values;
    private int size;

    Ids(int capacity) {
        values = new int[Math.max(capacity, 16)];
    }

    int size() {
        return size;
    }

    Ids add(int value) {
        reserve(1);
        values[size++] = value;
        return this;
    }

    Ids add(int[] more) {
        return add(more, more.length);
    }

    Ids add(int[] more, int count) {
        reserve(count);
        System.arraycopy(more, 0, values, size, count);
        size += count;
        return this;
    }

    Ids fill(int value, int count) {
        reserve(count);
        Arrays.fill(values, size, size + count, value);
        size += count;
        return this;
    }

    int[] toArray() {
        return Arrays.copyOf(values, size);
    }

    private void reserve(int count) {
        long needed = (long) size + count;
        if (needed > values.length) {
            if (needed > Integer.MAX_VALUE - 8) {
                throw new DataException("the data have more than 2147483639 tokens, more than one data set can hold");
            }
            values =
                    Arrays.copyOf(values, (int) Math.min(Integer.MAX_VALUE - 8L, Math.max(needed, values.length * 2L)));
        }
    }

    static int special(Tokenizer tokenizer, String name) {
        return tokenizer
                .specialId(name)
                .orElseThrow(() -> new IllegalArgumentException("the tokenizer has no special token " + name));
    }
}
