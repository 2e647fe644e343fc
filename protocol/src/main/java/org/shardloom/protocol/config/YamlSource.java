package org.shardloom.protocol.config;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.api.lowlevel.Parse;
import org.snakeyaml.engine.v2.events.AliasEvent;
import org.snakeyaml.engine.v2.events.CollectionEndEvent;
import org.snakeyaml.engine.v2.events.CollectionStartEvent;
import org.snakeyaml.engine.v2.events.Event;
import org.snakeyaml.engine.v2.events.ScalarEvent;
import org.snakeyaml.engine.v2.exceptions.Mark;
import org.snakeyaml.engine.v2.exceptions.MarkedYamlEngineException;
import org.snakeyaml.engine.v2.exceptions.YamlEngineException;
import org.snakeyaml.engine.v2.nodes.Node;

/**
 * A text to read: the job file, or one override.
 *
 * @param name what problems are reported against
 * @param base directory that relative paths start from
 * @param override whether this is an override; its positions have no lines
 */
record YamlSource(String name, Path base, boolean override) {
    private static final int MAX_CHARACTERS = 1 << 20;
    private static final int MAX_DEPTH = 32;
    private static final int MAX_ALIASES = 64;

    /**
     * Turns text into nodes, without making objects of them. Tags, deep nesting and floods of aliases are refused.
     *
     * @return the document, empty if there is none
     * @throws JobConfigException if the text is not one such YAML document
     */
    Optional<Node> compose(String text) {
        LoadSettings settings = LoadSettings.builder()
                .setLabel(name)
                .setUseMarks(true)
                .setCodePointLimit(MAX_CHARACTERS)
                // The library's reader fails where its buffer ends between the two halves of a character, so the buffer
                // takes it all.
                .setBufferSize(text.length() + 2)
                .build();
        try {
            refuseExcess(new Parse(settings).parseString(text));
            return new Compose(settings).composeString(text);
        } catch (MarkedYamlEngineException bad) {
            Optional<Mark> mark = bad.getProblemMark().or(bad::getContextMark);
            throw failure(mark, "not valid YAML: " + bad.getProblem());
        } catch (YamlEngineException bad) {
            throw failure(Optional.empty(), "not valid YAML: " + firstLine(bad.getMessage()));
        }
    }

    /** Returns where a node stands. */
    JobPosition at(Node node) {
        return at(node.getStartMark());
    }

    private JobPosition at(Optional<Mark> mark) {
        return override || mark.isEmpty()
                ? JobPosition.of(name)
                : new JobPosition(name, mark.get().getLine() + 1, mark.get().getColumn() + 1);
    }

    private void refuseExcess(Iterable<Event> events) {
        int depth = 0;
        int aliases = 0;
        for (Event event : events) {
            if (hasTag(event)) {
                throw failure(event.getStartMark(), "tags ('!...') are not allowed in a job file");
            }
            depth += event instanceof CollectionStartEvent ? 1 : event instanceof CollectionEndEvent ? -1 : 0;
            aliases += event instanceof AliasEvent ? 1 : 0;
            if (depth > MAX_DEPTH) {
                throw failure(event.getStartMark(), "nested more than " + MAX_DEPTH + " deep");
            }
            if (aliases > MAX_ALIASES) {
                throw failure(event.getStartMark(), "more than " + MAX_ALIASES + " aliases ('*...')");
            }
        }
    }

    private static boolean hasTag(Event event) {
        return event instanceof ScalarEvent scalar && scalar.getTag().isPresent()
                || event instanceof CollectionStartEvent start && start.getTag().isPresent();
    }

    private JobConfigException failure(Optional<Mark> mark, String message) {
        return new JobConfigException(List.of(new JobProblem(at(mark), message)));
    }

    private static String firstLine(String message) {
        return message.lines().findFirst().orElse("");
    }
}
