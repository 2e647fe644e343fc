package org.shardloom.worker.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * ChatGLM-6B's tokenizer, on {@code ice_text.model}.
 *
 * <pre>
 *   0 .. n-1              image tokens; n is num_image_tokens of tokenizer_config.json
 *   n .. n+130343         SentencePiece's ids, special tokens among them
 * </pre>
 *
 * <p>The first files published had n = 20000, which is also what n is where the configuration does not say; later ones
 * have 0. Newlines, tabs and runs of blanks are tokens of their own, see {@link WhiteSpaceMarks}.
 */
final class Glm1Tokenizer extends NativeTokenizer {
    private static final int DEFAULT_IMAGE_TOKENS = 20_000;
    private static final List<String> NEEDED = List.of("[gMASK]", "<sop>", "<eop>", "<pad>", "<n>");

    private final SentencePiece pieces;
    private final UnigramSegmenter segmenter;
    private final SpecialTokens specials;
    private final int imageTokens;

    private Glm1Tokenizer(
            SentencePiece pieces, SpecialTokens specials, int imageTokens, BoundaryIds boundaries, String fingerprint) {
        super(Family.GLM1, boundaries, imageTokens + pieces.model().size(), fingerprint);
        this.pieces = pieces;
        this.segmenter = new UnigramSegmenter(pieces.model());
        this.specials = specials;
        this.imageTokens = imageTokens;
    }

    /**
     * Opens the model.
     *
     * @param file {@code ice_text.model}; {@code tokenizer_config.json} must be beside it
     * @throws TokenizerException if one of them can't be used
     */
    static Glm1Tokenizer open(Path file) {
        TokenizerFiles files = TokenizerFiles.read(file, Family.GLM1);
        SentencePieceModel model = SentencePiece.parse(files);
        int imageTokens = imageTokens(files);
        Map<String, Integer> ids = SentencePiece.pieces(
                model, SentencePieceModel.CONTROL, SentencePieceModel.UNKNOWN, SentencePieceModel.USER_DEFINED);
        if (!ids.keySet().containsAll(NEEDED)) {
            throw new TokenizerException("tokenizer: " + file + " is not ChatGLM-6B's: not all of "
                    + String.join(", ", NEEDED) + " are special tokens there");
        }
        ids.replaceAll((name, id) -> id + imageTokens);
        SpecialTokens specials = new SpecialTokens(ids, Family.GLM1.typeable());
        BoundaryIds boundaries = new BoundaryIds(specials.id("<sop>"), ids.get("<eop>"), ids.get("<pad>"));
        return new Glm1Tokenizer(
                SentencePiece.open(files, model), specials, imageTokens, boundaries, files.fingerprint());
    }

    @Override
    int[] encodeOpen(String text) {
        int[] ids = segmenter.again(pieces.encode(WhiteSpaceMarks.set(text)));
        for (int i = 0; i < ids.length; i++) {
            ids[i] += imageTokens;
        }
        return ids;
    }

    @Override
    int[] encodeWithSpecialsOpen(String text) {
        return specials.encode(text, SpecialTokens.Blanks.STRIPPED, this::encodeOpen);
    }

    @Override
    String decodeOpen(int[] ids) {
        List<Object> tokens = new ArrayList<>(ids.length);
        for (int id : ids) {
            if (id < imageTokens) {
                tokens.add("<image_" + id + ">");
            } else if (id != padId()) {
                tokens.add(id - imageTokens);
            }
        }
        return TextRules.cleanUp(WhiteSpaceMarks.resolve(pieces.decode(tokens)));
    }

    @Override
    public OptionalInt specialId(String name) {
        return specials.id(name);
    }

    @Override
    public Optional<String> specialName(int id) {
        return specials.name(id);
    }

    @Override
    void free() {
        pieces.free();
    }

    private static int imageTokens(TokenizerFiles files) {
        String key = "num_image_tokens";
        JsonNode given = files.requiredConfig(key);
        if (given.isMissingNode()) {
            return DEFAULT_IMAGE_TOKENS;
        }
        if (!given.canConvertToInt() || !given.isIntegralNumber() || given.intValue() < 0) {
            throw new TokenizerException("tokenizer: tokenizer_config.json beside " + files.main() + ": " + key + " is "
                    + given + ", which is no number of tokens");
        }
        return given.intValue();
    }
}
