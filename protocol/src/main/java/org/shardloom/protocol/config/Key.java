package org.shardloom.protocol.config;

import java.util.function.Function;

/**
 * One key of the job file.
 *
 * @param path its full name: {@code train.learning_rate}; a name that ends in {@code .*} takes whatever else stands in
 *     its section
 * @param type what it can be set to
 * @param fallback its default, or null if it has none of its own
 * @param fallbackText the default as documented
 * @param required whether the user must set it
 * @param memberSpecific whether it may differ between members of a run, or change while the run goes on
 * @param description one line for the table of keys
 * @param getter finds its value in a configuration; null when it is unset there
 */
record Key<T>(
        String path,
        ValueType<T> type,
        T fallback,
        String fallbackText,
        boolean required,
        boolean memberSpecific,
        String description,
        Function<JobConfig, T> getter) {

    /** Returns the name of the section around it; empty at the top. */
    String section() {
        return sectionOf(path);
    }

    /** Returns its name inside its section. */
    String name() {
        return nameOf(path);
    }

    /** Returns its value in a configuration as YAML, or null when it is unset there. */
    String render(JobConfig config) {
        T value = getter.apply(config);
        return value == null ? null : type.render(value);
    }

    static String sectionOf(String path) {
        return path.substring(0, Math.max(0, path.lastIndexOf('.')));
    }

    static String nameOf(String path) {
        return path.substring(path.lastIndexOf('.') + 1);
    }

    static String join(String section, String name) {
        return section.isEmpty() ? name : section + "." + name;
    }
}
