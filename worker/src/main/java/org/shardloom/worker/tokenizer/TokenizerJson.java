package org.shardloom.worker.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.UUID;

/**
 * The contents of a {@code tokenizer.json}, and the variant in which special tokens can't be typed.
 *
 * <p>In the variant every special token has a random private name, in the list of added tokens and in the vocabulary
 * alike, so that all ids stay as they are. The model's own unknown token keeps its name (the model refers to it by
 * name) but is no longer matched in text.
 */
final class TokenizerJson {
    private final JsonNode complete;
    private final Map<String, Integer> specials = new LinkedHashMap<>();
    private final Map<String, Integer> vocabulary = new LinkedHashMap<>();
    private final int size;

    TokenizerJson(JsonNode complete) {
        this.complete = complete;
        readVocabulary(complete.path("model").path("vocab"));
        int largest = vocabulary.values().stream().mapToInt(id -> id).max().orElse(-1);
        for (JsonNode token : complete.path("added_tokens")) {
            int id = token.path("id").asInt();
            largest = Math.max(largest, id);
            if (token.path("special").asBoolean()) {
                specials.put(token.path("content").asText(), id);
            }
        }
        this.size = largest + 1;
    }

    JsonNode complete() {
        return complete;
    }

    int size() {
        return size;
    }

    /** The id of a special token, or of a vocabulary entry of that name. */
    OptionalInt specialId(String name) {
        Integer id = specials.getOrDefault(name, vocabulary.get(name));
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /** The name of a special token; empty if the id is none's. */
    Optional<String> specialName(int id) {
        return specials.entrySet().stream()
                .filter(special -> special.getValue() == id)
                .map(Map.Entry::getKey)
                .findFirst();
    }

    /** The variant without typeable special tokens. */
    JsonNode textOnly() {
        ObjectNode copy = complete.deepCopy();
        ObjectNode model = (ObjectNode) copy.path("model");
        String unknown = model.path("unk_token").asText(null);
        Map<String, String> renamed = new LinkedHashMap<>();
        String secret = UUID.randomUUID().toString();
        Iterator<JsonNode> added = copy.path("added_tokens").elements();
        while (added.hasNext()) {
            ObjectNode token = (ObjectNode) added.next();
            if (!token.path("special").asBoolean()) {
                continue;
            }
            String name = token.path("content").asText();
            if (name.equals(unknown)) {
                added.remove();
                continue;
            }
            String hidden = "\uE000" + secret + "-" + token.path("id").asInt() + "\uE000";
            renamed.put(name, hidden);
            token.put("content", hidden);
            token.put("normalized", false);
        }
        model.set("vocab", rename(model.path("vocab"), renamed));
        return copy;
    }

    private static JsonNode rename(JsonNode vocab, Map<String, String> renamed) {
        if (vocab instanceof ArrayNode entries) {
            for (JsonNode entry : entries) {
                String hidden = renamed.get(entry.path(0).asText());
                if (hidden != null) {
                    ((ArrayNode) entry).set(0, TextNode.valueOf(hidden));
                }
            }
            return entries;
        }
        ObjectNode copy = ((ObjectNode) vocab).objectNode();
        vocab.fields().forEachRemaining(e -> copy.set(renamed.getOrDefault(e.getKey(), e.getKey()), e.getValue()));
        return copy;
    }

    private void readVocabulary(JsonNode vocab) {
        if (vocab.isArray()) {
            for (int id = 0; id < vocab.size(); id++) {
                vocabulary.putIfAbsent(vocab.path(id).path(0).asText(), id);
            }
        } else {
            vocab.fields()
                    .forEachRemaining(
                            e -> vocabulary.put(e.getKey(), e.getValue().asInt()));
        }
    }
}
