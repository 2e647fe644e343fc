package org.shardloom.protocol.config;

import org.snakeyaml.engine.v2.nodes.Node;

/** A value that its key can't take. */
final class BadValueException extends Exception {
    private static final long serialVersionUID = 1L;

    private final transient Node node;

    BadValueException(Node node, String message) {
        super(message);
        this.node = node;
    }

    /** Returns the offending part of the value. */
    Node node() {
        return node;
    }
}
