package org.shardloom.worker.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * A tokenizer in Hugging Face's {@code tokenizer.json} format.
 *
 * <p>The library always recognises special tokens in text. So there are two instances: one as the file says, for {@link
 * #encodeWithSpecials} and decoding, and one whose special tokens nobody can type, for {@link #encode}; see {@link
 * TokenizerJson}.
 */
public final class HuggingFaceTokenizer extends NativeTokenizer {
    private static final Map<String, String> OPTIONS =
            Map.of("addSpecialTokens", "false", "truncation", "do_not_truncate", "padding", "do_not_pad");

    private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer complete;
    private final ai.djl.huggingface.tokenizers.HuggingFaceTokenizer textOnly;
    private final TokenizerJson json;

    private HuggingFaceTokenizer(TokenizerFiles files, TokenizerJson json) throws IOException {
        super(Family.PLAIN, BoundaryIds.named(files, json::specialId, -1, -1, -1), json.size(), files.fingerprint());
        this.json = json;
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
    int[] encodeOpen(String text) {
        return encode(textOnly, text);
    }

    @Override
    int[] encodeWithSpecialsOpen(String text) {
        return encode(complete, text);
    }

    @Override
    String decodeOpen(int[] ids) {
        return complete.decode(Arrays.stream(ids).asLongStream().toArray(), true);
    }

    @Override
    public OptionalInt specialId(String name) {
        return json.specialId(name);
    }

    @Override
    public Optional<String> specialName(int id) {
        return json.specialName(id);
    }

    @Override
    void free() {
        complete.close();
        textOnly.close();
    }

    private static int[] encode(ai.djl.huggingface.tokenizers.HuggingFaceTokenizer tokenizer, String text) {
        long[] ids = tokenizer.encode(TextRules.wellFormed(text), false, false).getIds();
        return Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
    }

    private static ai.djl.huggingface.tokenizers.HuggingFaceTokenizer instance(JsonNode json) throws IOException {
        byte[] bytes = json.toString().getBytes(StandardCharsets.UTF_8);
        return ai.djl.huggingface.tokenizers.HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(bytes), OPTIONS);
    }
}
