package org.shardloom.protocol.config;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** What was read so far: values, where they stand, and what is wrong with them. Confined to one thread. */
final class JobValues {
    private final Map<Key<?>, Object> values = new HashMap<>();
    private final Map<String, JobPosition> positions = new HashMap<>();
    private final Set<Key<?>> broken = new HashSet<>();
    private final List<JobProblem> problems = new ArrayList<>();

    <T> void put(Key<T> key, T value, JobPosition at) {
        values.put(key, value);
        positions.put(key.path(), at);
    }

    void remove(Key<?> key) {
        values.remove(key);
        positions.remove(key.path());
    }

    /** Returns the value that was set, or else the key's own default. */
    @SuppressWarnings("unchecked")
    <T> Optional<T> find(Key<T> key) {
        return Optional.ofNullable((T) values.getOrDefault(key, key.fallback()));
    }

    /** As {@link #find}, for keys that are required or have a default. */
    <T> T get(Key<T> key) {
        return find(key).orElseThrow(() -> new IllegalStateException("No value for " + key.path()));
    }

    boolean isSet(Key<?> key) {
        return values.containsKey(key);
    }

    /** Notes where a section or an option stands. */
    void mark(String path, JobPosition at) {
        positions.put(path, at);
    }

    /** Returns where a key stands, or else the section around it. */
    Optional<JobPosition> position(String path) {
        JobPosition at = positions.get(path);
        if (at != null || path.isEmpty()) {
            return Optional.ofNullable(at);
        }
        return position(Key.sectionOf(path));
    }

    Map<String, JobPosition> positions() {
        return positions;
    }

    void problem(JobPosition at, String message) {
        problems.add(new JobProblem(at, message));
    }

    /** Notes that a key's value could not be read, so that no rule is checked on it. */
    void broken(Key<?> key) {
        broken.add(key);
    }

    boolean isBroken(Key<?> key) {
        return broken.contains(key);
    }

    /** Returns the problems: those of the file by line, then those without a line in the order of their discovery. */
    List<JobProblem> problems() {
        return problems.stream()
                .sorted(Comparator.comparingInt((JobProblem problem) ->
                        problem.at().line() > 0 ? problem.at().line() : Integer.MAX_VALUE))
                .toList();
    }
}
