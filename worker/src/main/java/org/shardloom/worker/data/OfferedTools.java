package org.shardloom.worker.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The tools that a record describes, as ChatGLM3 or OpenAI do: {@code {"name": "w", "parameters": {"properties": {...}, "required":
 * ["city"]}}}, alone or under {@code function}. The format is free, though: where one of them has no name, nothing is known of any, and
 * whatever is called may be among them.
 */
final class OfferedTools {
    private final Map<String, JsonNode> byName;

    private OfferedTools(Map<String, JsonNode> byName) {
        this.byName = byName;
    }

    /**
     * The tools of a record.
     *
     * @param tools an array of descriptions, or one alone; anything else offers nothing that is known
     */
    static OfferedTools of(JsonNode tools) {
        Map<String, JsonNode> byName = new LinkedHashMap<>();
        for (JsonNode tool : tools.isArray() ? tools : List.of(tools)) {
            JsonNode described = tool.path("name").isTextual() ? tool : tool.path("function");
            if (!described.path("name").isTextual()) {
                return new OfferedTools(Map.of());
            }
            byName.put(described.path("name").asText(), described);
        }
        return new OfferedTools(byName);
    }

    Set<String> names() {
        return byName.keySet();
    }

    boolean mayBeCalled(String tool) {
        return byName.isEmpty() || byName.containsKey(tool);
    }

    /** A parameter that a call lacks although the tool's description requires it. */
    Optional<String> missing(String tool, JsonNode parameters) {
        if (!byName.containsKey(tool)) {
            return Optional.empty();
        }
        for (JsonNode name : byName.get(tool).path("parameters").path("required")) {
            if (name.isTextual() && !parameters.has(name.asText())) {
                return Optional.of(name.asText());
            }
        }
        return Optional.empty();
    }
}
