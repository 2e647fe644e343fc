package org.shardloom.worker.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** Reads a tokenizer's files, each once, and keeps the digest of what was read. */
final class TokenizerFiles {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final byte[] LFS_POINTER = "version https://git-lfs".getBytes(StandardCharsets.US_ASCII);

    private static final String CONFIG = "tokenizer_config.json";

    private final Path main;
    private final byte[] mainBytes;
    private final Map<String, JsonNode> configs = new LinkedHashMap<>();
    private final MessageDigest digest;

    private TokenizerFiles(Path main, byte[] mainBytes, MessageDigest digest) {
        this.main = main;
        this.mainBytes = mainBytes;
        this.digest = digest;
    }

    /**
     * Reads the tokenizer file and, for {@link Family#GLM1} and {@link Family#PLAIN}, the configuration beside it.
     *
     * @throws TokenizerException if a file can't be read
     */
    static TokenizerFiles read(Path main, Family family) {
        MessageDigest digest = sha256();
        digest.update(family.name().getBytes(StandardCharsets.UTF_8));
        byte[] bytes = bytes(main, digest);
        if (bytes.length == 0) {
            throw new TokenizerException("tokenizer: " + main + " is empty");
        }
        if (startsWith(bytes, LFS_POINTER)) {
            throw new TokenizerException(
                    "tokenizer: " + main + " is a Git LFS pointer, not the file itself; run `git lfs pull` there");
        }
        TokenizerFiles files = new TokenizerFiles(main, bytes, digest);
        if (family == Family.GLM1 || family == Family.PLAIN) {
            files.readConfig(CONFIG);
        }
        if (family == Family.PLAIN) {
            files.readConfig("special_tokens_map.json");
        }
        return files;
    }

    byte[] mainBytes() {
        return mainBytes;
    }

    Path main() {
        return main;
    }

    String fingerprint() {
        try {
            return HexFormat.of().formatHex(((MessageDigest) digest.clone()).digest());
        } catch (CloneNotSupportedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** The text of a token such as {@code eos_token}, which is a string or an object with {@code content}. */
    Optional<String> token(String key) {
        for (JsonNode config : configs.values()) {
            JsonNode value = config.path(key);
            if (value.isObject()) {
                value = value.path("content");
            }
            if (value.isTextual() && !value.asText().isEmpty()) {
                return Optional.of(value.asText());
            }
        }
        return Optional.empty();
    }

    /**
     * The value of a key of {@code tokenizer_config.json}; missing if the file does not have it.
     *
     * @throws TokenizerException if there is no such file
     */
    JsonNode requiredConfig(String key) {
        JsonNode config = configs.get(CONFIG);
        if (config == null) {
            throw new TokenizerException("tokenizer: " + main + " needs the model's " + CONFIG + " beside it, for its "
                    + key + "; copy it there");
        }
        return config.path(key);
    }

    /** The tokens of {@code added_tokens_decoder}, by their text. */
    Map<String, Integer> addedTokens() {
        Map<String, Integer> added = new LinkedHashMap<>();
        for (JsonNode config : configs.values()) {
            config.path("added_tokens_decoder")
                    .fields()
                    .forEachRemaining(
                            e -> added.put(e.getValue().path("content").asText(), parseId(e.getKey())));
        }
        return added;
    }

    JsonNode mainJson() {
        return parse(main, mainBytes);
    }

    private int parseId(String text) {
        try {
            return Integer.parseInt(text);
        } catch (NumberFormatException e) {
            throw new TokenizerException("tokenizer: " + main.resolveSibling(CONFIG)
                    + ": added_tokens_decoder has the key `" + text + "`, which is no token id");
        }
    }

    private void readConfig(String name) {
        Path file = main.resolveSibling(name);
        if (Files.isRegularFile(file)) {
            digest.update(name.getBytes(StandardCharsets.UTF_8));
            configs.put(name, parse(file, bytes(file, digest)));
        }
    }

    private static JsonNode parse(Path file, byte[] bytes) {
        try {
            JsonNode node = JSON.readTree(bytes);
            if (!node.isObject()) {
                throw new TokenizerException("tokenizer: " + file + " is no JSON object");
            }
            return node;
        } catch (IOException e) {
            throw new TokenizerException("tokenizer: " + file + " is not valid JSON: " + e.getMessage(), e);
        }
    }

    private static byte[] bytes(Path file, MessageDigest digest) {
        try {
            byte[] bytes = Files.readAllBytes(file);
            digest.update(Long.toString(bytes.length).getBytes(StandardCharsets.US_ASCII));
            digest.update(bytes);
            return bytes;
        } catch (IOException e) {
            throw new TokenizerException("tokenizer: can't read " + file + ": " + e, e);
        }
    }

    private static boolean startsWith(byte[] bytes, byte[] prefix) {
        return bytes.length >= prefix.length && Arrays.equals(bytes, 0, prefix.length, prefix, 0, prefix.length);
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
