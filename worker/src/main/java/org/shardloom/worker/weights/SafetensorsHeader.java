package org.shardloom.worker.weights;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParseException;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The JSON header of a safetensors file, each entry checked on its own.
 *
 * @param metadata the {@code __metadata__} object
 * @param entries the tensors in the header's order
 */
record SafetensorsHeader(Map<String, String> metadata, List<Entry> entries) {
    static final String METADATA_KEY = "__metadata__";
    private static final JsonFactory JSON = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    /** A tensor and its bytes [begin, end), counted from the end of the header. */
    record Entry(TensorInfo info, long begin, long end) {}

    static SafetensorsHeader parse(Path path, byte[] json) throws IOException {
        if (json[0] != '{' || json[1] == 0) {
            throw WeightsException.in(path, "expected the safetensors header to be UTF-8 JSON and begin with '{'");
        }
        try (JsonParser parser = JSON.createParser(json)) {
            parser.nextToken();
            Map<String, String> metadata = new LinkedHashMap<>();
            List<Entry> entries = new ArrayList<>();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                String name = parser.currentName();
                parser.nextToken();
                if (name.equals(METADATA_KEY)) {
                    readMetadata(path, parser, metadata);
                } else {
                    entries.add(readEntry(path, name, parser));
                }
            }
            if (parser.nextToken() != null) {
                throw WeightsException.in(path, "expected nothing after the JSON object of the header");
            }
            return new SafetensorsHeader(metadata, entries);
        } catch (JsonProcessingException e) {
            throw WeightsException.in(path, "the safetensors header is not valid: " + e.getOriginalMessage(), e);
        }
    }

    private static void readMetadata(Path path, JsonParser parser, Map<String, String> metadata) throws IOException {
        require(parser, JsonToken.START_OBJECT, METADATA_KEY);
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String key = parser.currentName();
            if (parser.nextToken() != JsonToken.VALUE_STRING) {
                throw WeightsException.in(
                        path, "expected text for " + WeightsException.quote(key) + " in " + METADATA_KEY);
            }
            metadata.put(key, parser.getText());
        }
    }

    private static Entry readEntry(Path path, String name, JsonParser parser) throws IOException {
        require(parser, JsonToken.START_OBJECT, "tensor");
        String dtypeName = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String field = parser.currentName();
            parser.nextToken();
            switch (field) {
                case "dtype" -> {
                    require(parser, JsonToken.VALUE_STRING, field);
                    dtypeName = parser.getText();
                }
                case "shape" -> shape = readLongs(parser, field);
                case "data_offsets" -> offsets = readLongs(parser, field);
                default -> throw WeightsException.in(
                        path, name, "expected dtype, shape and data_offsets, found " + WeightsException.quote(field));
            }
        }
        if (dtypeName == null || shape == null || offsets == null || offsets.size() != 2) {
            throw WeightsException.in(path, name, "expected dtype, shape and two data_offsets");
        }
        return entry(path, name, dtypeName, shape, offsets.get(0), offsets.get(1));
    }

    private static Entry entry(Path path, String name, String dtypeName, List<Long> shape, long begin, long end)
            throws WeightsException {
        WeightDtype dtype = WeightDtype.fromSafetensorsName(dtypeName).orElse(null);
        if (dtype == null) {
            throw WeightsException.in(
                    path,
                    name,
                    "expected a dtype among " + List.of(WeightDtype.values()) + ", found "
                            + WeightsException.quote(dtypeName));
        }
        TensorInfo info;
        try {
            info = new TensorInfo(name, dtype, shape);
        } catch (IllegalArgumentException e) {
            throw WeightsException.in(path, "tensor " + WeightsException.quote(name) + ": " + e.getMessage(), e);
        }
        if (begin < 0 || end < begin || end - begin != info.byteCount()) {
            throw WeightsException.in(
                    path,
                    name,
                    "expected " + info.byteCount() + " bytes for " + dtype + " " + shape + ", found data_offsets ["
                            + begin + ", " + end + "]");
        }
        return new Entry(info, begin, end);
    }

    private static List<Long> readLongs(JsonParser parser, String field) throws IOException {
        require(parser, JsonToken.START_ARRAY, field);
        List<Long> values = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            require(parser, JsonToken.VALUE_NUMBER_INT, field);
            values.add(parser.getLongValue());
        }
        return values;
    }

    private static void require(JsonParser parser, JsonToken expected, String field) throws IOException {
        if (parser.currentToken() != expected) {
            throw new JsonParseException(
                    parser, "expected " + expected + " in " + field + ", found " + parser.currentToken());
        }
    }
}
