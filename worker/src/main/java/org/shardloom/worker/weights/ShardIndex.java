package org.shardloom.worker.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The index of a sharded checkpoint: {@code {"metadata": {"total_size": bytes}, "weight_map": {tensor: file name}}}.
 *
 * @param weightMap file name by tensor name, in the index's order; the file names are plain, without any directory
 */
record ShardIndex(Map<String, String> weightMap) {
    private static final int MAX_BYTES = 64 << 20;
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(SerializationFeature.INDENT_OUTPUT)
            .build();

    /** Reads an index whose shards must have the given file name suffix. {@code total_size} is not relied on. */
    static ShardIndex read(Path path, String suffix) throws IOException {
        long size = Files.size(path);
        if (size > MAX_BYTES) {
            throw WeightsException.in(path, "expected an index of at most " + MAX_BYTES + " bytes, found " + size);
        }
        JsonNode weightMap;
        try {
            weightMap = JSON.readTree(Files.readAllBytes(path)).path("weight_map");
        } catch (JsonProcessingException e) {
            throw WeightsException.in(path, "the index is not valid JSON: " + e.getOriginalMessage(), e);
        }
        if (!weightMap.isObject() || weightMap.isEmpty()) {
            throw WeightsException.in(path, "expected an object weight_map with at least one tensor");
        }
        Map<String, String> shards = new LinkedHashMap<>();
        for (Map.Entry<String, JsonNode> entry : weightMap.properties()) {
            String file = entry.getValue().textValue();
            if (file == null || !isPlainName(file) || !file.endsWith(suffix)) {
                throw WeightsException.in(
                        path,
                        entry.getKey(),
                        "expected the name of a *" + suffix + " file in the same directory, found "
                                + WeightsException.quote(entry.getValue().toString()));
            }
            shards.put(entry.getKey(), file);
        }
        return new ShardIndex(shards);
    }

    /** Formats the index as Hugging Face tools write it, with a final line break. */
    static byte[] format(long totalBytes, Map<String, String> weightMap) throws IOException {
        ObjectNode root = JSON.createObjectNode();
        root.putObject("metadata").put("total_size", totalBytes);
        ObjectNode map = root.putObject("weight_map");
        weightMap.forEach(map::put);
        byte[] json = JSON.writeValueAsBytes(root);
        byte[] lines = Arrays.copyOf(json, json.length + 1);
        lines[json.length] = '\n';
        return lines;
    }

    private static boolean isPlainName(String name) {
        return !name.isEmpty()
                && !name.startsWith(".")
                && name.chars().noneMatch(c -> c == '/' || c == '\\' || c == ':' || c < ' ');
    }
}
