package org.shardloom.protocol.config;

import java.util.Set;
import org.snakeyaml.engine.v2.common.ScalarStyle;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.ScalarNode;

/** Questions about YAML nodes. Plain text is told from quoted text here, not by YAML's own guess of a type. */
final class Nodes {
    private static final Set<String> NULLS = Set.of("", "~", "null", "Null", "NULL");
    private static final int SHOWN_CHARACTERS = 60;

    private Nodes() {}

    static boolean isNull(Node node) {
        return isPlain(node) && NULLS.contains(((ScalarNode) node).getValue());
    }

    static boolean isScalar(Node node) {
        return node instanceof ScalarNode;
    }

    static boolean isPlain(Node node) {
        return node instanceof ScalarNode scalar && scalar.getScalarStyle() == ScalarStyle.PLAIN;
    }

    /** Returns the text of a scalar that is not null. */
    static String text(Node node, String expected) throws BadValueException {
        if (node instanceof ScalarNode scalar && !isNull(node)) {
            return scalar.getValue();
        }
        throw mismatch(node, expected);
    }

    /** Returns the text of a scalar that is neither null nor quoted. */
    static String plainText(Node node, String expected) throws BadValueException {
        String text = text(node, expected);
        if (!isPlain(node)) {
            throw new BadValueException(
                    node, "expected " + expected + ", found the quoted text '" + shown(text) + "' - remove the quotes");
        }
        return text;
    }

    static BadValueException mismatch(Node node, String expected) {
        return new BadValueException(node, "expected " + expected + ", found " + found(node));
    }

    /** Describes a node for an error message. */
    static String found(Node node) {
        if (isNull(node)) {
            return "nothing";
        }
        if (node instanceof ScalarNode scalar) {
            return "'" + shown(scalar.getValue()) + "'";
        }
        return node instanceof MappingNode ? "keys and values" : "a list";
    }

    /** Shortens text, and keeps control characters out of messages. */
    static String shown(String text) {
        String line = text.replaceAll("\\p{Cntrl}", "?");
        return line.length() <= SHOWN_CHARACTERS ? line : line.substring(0, SHOWN_CHARACTERS) + "...";
    }
}
