package org.shardloom.deploy.convert;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.BiConsumer;

/** What is done with the settings of other tools, by their names. */
final class KnownNames {
    private final JobDraft draft;
    private final Map<String, BiConsumer<String, Object>> known = new LinkedHashMap<>();
    private final Map<String, String> keys = new HashMap<>();

    KnownNames(JobDraft draft) {
        this.draft = draft;
    }

    /** The settings are the job file's key. */
    void to(String key, String... names) {
        for (String name : names) {
            known.put(name, (n, v) -> draft.set(key, v));
            keys.put(name, key);
        }
    }

    /** They go to the handler, with name and value. */
    void on(BiConsumer<String, Object> handler, String... names) {
        for (String name : names) {
            known.put(name, handler);
        }
    }

    /** They are not carried over. */
    void left(String why, String... names) {
        on((n, v) -> draft.leave(n, v, why), names);
    }

    /** The settings have the key's meaning, though a handler takes them. */
    void mean(String key, String... names) {
        for (String name : names) {
            keys.put(name, key);
        }
    }

    /** What takes a setting; null where it is not known. */
    BiConsumer<String, Object> handler(String name) {
        return known.get(name);
    }

    /** The key that a setting is; null where it is none alone. */
    String key(String name) {
        return keys.get(name);
    }
}
