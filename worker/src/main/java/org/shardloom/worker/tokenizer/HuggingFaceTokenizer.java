package org.shardloom.worker.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.OptionalInt;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * A tokenizer in Hugging Face's {@code tokenizer.json} format.
 *
 * <p>The library always recognises special tokens in text. So there are two instances: one as the file says, for {@link
 * #encodeWithSpecials} and decoding, and one whose special tokens nobody can type, for {@link #encode}; see {@link
 * TokenizerJson}.
 */
public final class HuggingFaceTokenizer implements Tokenizer {
    private static final Map<String, String> OPTIONS =
            Map.of("addSpecialTokens", "false", "truncation", "do_not_truncate", "padding", "do_not_pad");

    private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer complete;
    private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer textOnly;
    private final TokenizerJson json;
    private final OptionalInt bosId;
    private final int eosId;
    private final int padId;
    private final String fingerprint;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private boolean closed;

    private HuggingFaceTokenizer(TokenizerFiles files, TokenizerJson json) throws IOException {
        this.json = json;
        this.bosId = named(files, json, "bos_token");
        this.eosId = named(files, json, "eos_token")
                .orElseThrow(() -> new TokenizerException("tokenizer: " + files.main()
                        + " has no end-of-text token; name one as `eos_token` in tokenizer_config.json beside it"));
        this.padId = named(files, json, "pad_token").orElse(eosId);
        this.fingerprint = files.fingerprint();
        this.complete = instance(json.complete());
        this.textOnly = instance(json.textOnly());
    }

    /**
     * Opens a tokenizer.
     *
     * @param file the {@code tokenizer.json}; {@code tokenizer_config.json} and {@code special_tokens_map.json} beside
     *     it name the end-of-text token
     * @throws TokenizerException if the file can't be used
     */
    public static HuggingFaceTokenizer open(Path file) {
        TokenizerFiles files = TokenizerFiles.read(file, Family.PLAIN);
        JsonNode root = files.mainJson();
        if (!root.path("model").path("vocab").isContainerNode()) {
            throw new TokenizerException("tokenizer: " + file + " has no model.vocab: it is no tokenizer.json");
        }
        NativeLibraries.configure();
        try {
            return new HuggingFaceTokenizer(files, new TokenizerJson(root));
        } catch (TokenizerException e) {
            throw e;
        } catch (IOException | RuntimeException | LinkageError e) {
            throw new TokenizerException("tokenizer: " + file + ": the tokenizers library refused it: " + e, e);
        }
    }

    @Override
    public Family family() {
        return Family.PLAIN;
    }

    @Override
    public int[] encode(String text) {
        return encode(textOnly, text);
    }

    @Override
    public int[] encodeWithSpecials(String text) {
        return encode(complete, text);
    }

    @Override
    public String decode(int[] ids) {
        for (int id : ids) {
            if (id < 0 || id >= json.size()) {
                throw new IllegalArgumentException("token id " + id + " is not in 0.." + (json.size() - 1));
            }
        }
        lock.readLock().lock();
        try {
            requireOpen();
            return complete.decode(Arrays.stream(ids).asLongStream().toArray(), true);
        } finally {
            lock.readLock().unlock();
        }
    }

    @Override
    public int vocabularySize() {
        return json.size();
    }

    @Override
    public OptionalInt specialId(String name) {
        return json.specialId(name);
    }

    @Override
    public OptionalInt bosId() {
        return bosId;
    }

    @Override
    public int eosId() {
        return eosId;
    }

    @Override
    public int padId() {
        return padId;
    }

    @Override
    public String fingerprint() {
        return fingerprint;
    }

    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            if (!closed) {
                closed = true;
                complete.close();
                textOnly.close();
            }
        } finally {
            lock.writeLock().unlock();
        }
    }

    private int[] encode(ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer, String text) {
        lock.readLock().lock();
        try {
            requireOpen();
            long[] ids =
                    tokenizer.encode(TextRules.wellFormed(text), false, false).getIds();
            return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
        } finally {
            lock.readLock().unlock();
        }
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("the tokenizer is closed");
        }
    }

    private static OptionalInt named(TokenizerFiles files, TokenizerJson json, String key) {
        return files.token(key).map(json::specialId).orElse(OptionalInt.empty());
    }

    private static ai.djl.huggingface.tokenizers.HuggingFaceTokenizer instance(JsonNode json) throws IOException {
        byte[] bytes = json.toString().getBytes(StandardCharsets.UTF_8);
        return ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(bytes), OPTIONS);
    }
}
