package org.shardloom.protocol.config;

import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;

/** Reads the job file, then overrides on top of it, into values. Problems are noted, and reading goes on. */
final class JobReader {
    private final JobValues values = new JobValues();

    /** Reads everything; only a file that is not YAML ends it early, by an exception. */
    static JobValues read(String yaml, String name, Path base, List<String> overrides) {
        JobReader reader = new JobReader();
        reader.readFile(yaml, new YamlSource(name, base, false));
        Path workingDirectory = Path.of("").toAbsolutePath();
        for (String override : overrides) {
            reader.readOverride(override, new YamlSource("--set " + override, workingDirectory, true));
        }
        reader.requireAll(JobPosition.of(name));
        return reader.values;
    }

    private void readFile(String yaml, YamlSource source) {
        Optional<Node> root = source.compose(yaml);
        if (root.isPresent() && root.get() instanceof MappingNode mapping) {
            readSection("", mapping, source);
        } else if (root.isPresent() && !Nodes.isNull(root.get())) {
            Node node = root.get();
            values.problem(source.at(node), "expected keys and values, found " + Nodes.found(node));
        }
    }

    private void readOverride(String override, YamlSource source) {
        int equals = override.indexOf('=');
        JobPosition at = JobPosition.of(source.name());
        if (equals <= 0) {
            values.problem(at, "expected key=value");
            return;
        }
        String path = override.substring(0, equals).trim();
        String section = "";
        for (String name : Key.sectionOf(path).split("\\.")) {
            if (!name.isEmpty() && !JobSchema.isSection(Key.join(section, name))) {
                boolean isKey = JobSchema.find(Key.join(section, name)).isPresent();
                values.problem(
                        at,
                        isKey
                                ? "'" + Key.join(section, name) + "' takes a value, it has no keys inside"
                                : JobSchema.unknownKey(section, name));
                return;
            }
            section = Key.join(section, name);
        }
        try {
            Optional<Node> node = source.compose(override.substring(equals + 1));
            readKey(section, Key.nameOf(path), node, at, source);
        } catch (JobConfigException bad) {
            bad.problems().forEach(problem -> values.problem(problem.at(), problem.message()));
        }
    }

    private void readSection(String section, MappingNode mapping, YamlSource source) {
        Map<String, JobPosition> seen = new HashMap<>();
        for (NodeTuple tuple : mapping.getValue()) {
            JobPosition at = source.at(tuple.getKeyNode());
            try {
                String name = Nodes.text(tuple.getKeyNode(), "the name of a key");
                JobPosition first = seen.putIfAbsent(name, at);
                if (first != null) {
                    String path = Nodes.shown(Key.join(section, name));
                    values.problem(at, "key '" + path + "' is already set at " + first);
                } else {
                    readKey(section, name, Optional.of(tuple.getValueNode()), at, source);
                }
            } catch (BadValueException bad) {
                values.problem(at, bad.getMessage());
            }
        }
    }

    private void readKey(String section, String name, Optional<Node> node, JobPosition at, YamlSource source) {
        String path = Key.join(section, name);
        Optional<Node> value = node.filter(found -> !Nodes.isNull(found));
        Optional<Key<?>> key = JobSchema.find(path);
        if (key.isPresent()) {
            readValue(key.get(), value, at, source);
        } else if (JobSchema.isSection(path)) {
            readSubsection(path, value, at, source);
        } else if (JobSchema.isOpen(section)) {
            readOption(path, value, at, source);
        } else {
            values.problem(at, JobSchema.unknownKey(section, name));
        }
    }

    private void readSubsection(String section, Optional<Node> value, JobPosition at, YamlSource source) {
        values.mark(section, at);
        if (value.isEmpty()) {
            JobKeys.ALL.stream()
                    .filter(key -> key.path().startsWith(section + "."))
                    .forEach(values::remove);
        } else if (value.get() instanceof MappingNode mapping) {
            readSection(section, mapping, source);
        } else {
            String message = section + ": expected keys and values, found " + Nodes.found(value.get());
            values.problem(source.at(value.get()), message);
        }
    }

    private <T> void readValue(Key<T> key, Optional<Node> value, JobPosition at, YamlSource source) {
        if (source.override() && value.isPresent()) {
            JobKeys.ALTERNATIVES.stream()
                    .filter(pair -> pair.contains(key))
                    .forEach(pair -> pair.stream().filter(this::isSetByFile).forEach(values::remove));
        }
        if (value.isEmpty()) {
            values.remove(key);
            return;
        }
        try {
            values.put(key, key.type().read(value.get(), source.base()), at);
        } catch (BadValueException bad) {
            values.broken(key);
            values.problem(source.at(bad.node()), key.path() + ": " + bad.getMessage());
        }
    }

    private boolean isSetByFile(Key<?> key) {
        return values.isSet(key)
                && values.position(key.path()).filter(at -> at.line() > 0).isPresent();
    }

    private void readOption(String path, Optional<Node> value, JobPosition at, YamlSource source) {
        Map<String, Object> options =
                new TreeMap<>(values.find(JobKeys.METHOD_OPTIONS).orElse(Map.of()));
        String name = Key.nameOf(path);
        try {
            if (value.isEmpty()) {
                options.remove(name);
            } else {
                options.put(name, FreeValues.read(value.get()));
                values.mark(path, at);
            }
            values.put(JobKeys.METHOD_OPTIONS, options, at);
        } catch (BadValueException bad) {
            values.broken(JobKeys.METHOD_OPTIONS);
            values.problem(source.at(bad.node()), path + ": " + bad.getMessage());
        }
    }

    private void requireAll(JobPosition file) {
        for (Key<?> key : JobKeys.ALL) {
            if (key.required() && !values.isSet(key) && !values.isBroken(key)) {
                JobPosition at = values.position(key.path()).orElse(file);
                values.problem(at, "missing key '" + key.path() + "' - " + key.description());
            }
        }
    }
}
