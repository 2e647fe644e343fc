package org.shardloom.protocol.config;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Collects keys in the order of their declaration. */
final class KeyList {
    private final List<Key<?>> keys = new ArrayList<>();

    /** Returns what was declared so far. */
    List<Key<?>> keys() {
        return List.copyOf(keys);
    }

    /** A key with a default. */
    <T> Key<T> key(String path, ValueType<T> type, T fallback, String description, Function<JobConfig, T> getter) {
        return declare(
                new Key<>(path, type, fallback, unquoted(type.render(fallback)), false, false, description, getter));
    }

    /** A key with a default that may differ between members of a run, or change while it goes on. */
    <T> Key<T> perMember(
            String path, ValueType<T> type, T fallback, String description, Function<JobConfig, T> getter) {
        return declare(
                new Key<>(path, type, fallback, unquoted(type.render(fallback)), false, true, description, getter));
    }

    /** A key that the user must set. */
    <T> Key<T> required(String path, ValueType<T> type, String description, Function<JobConfig, T> getter) {
        return declare(new Key<>(path, type, null, "required", true, false, description, getter));
    }

    /** A key whose default depends on other keys, or is to be absent. */
    <T> Key<T> derived(
            String path, ValueType<T> type, String fallbackText, String description, Function<JobConfig, T> getter) {
        return declare(new Key<>(path, type, null, fallbackText, false, false, description, getter));
    }

    private <T> Key<T> declare(Key<T> key) {
        keys.add(key);
        return key;
    }

    private static String unquoted(String rendered) {
        return rendered.replace("\"", "");
    }
}
