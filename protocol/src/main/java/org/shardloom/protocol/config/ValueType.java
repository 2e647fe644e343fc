package org.shardloom.protocol.config;

import java.nio.file.Path;
import org.snakeyaml.engine.v2.nodes.Node;

/** What a key can be set to. */
interface ValueType<T> {

    /** Names the type for messages and for the table of keys: "a positive integer". */
    String expected();

    /** Reads a value; relative paths are resolved against {@code base}. */
    T read(Node node, Path base) throws BadValueException;

    /** Writes a value as YAML that reads back as an equal one. */
    default String render(T value) {
        return FreeValues.render(value);
    }
}
