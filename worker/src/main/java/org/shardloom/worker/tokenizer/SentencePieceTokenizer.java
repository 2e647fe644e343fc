package org.shardloom.worker.tokenizer;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/** A SentencePiece tokenizer with the special tokens of its {@link Family}, which is not {@link Family#GLM1}. */
public final class SentencePieceTokenizer extends NativeTokenizer {
    private final SentencePiece pieces;
    private final SpecialTokens specials;

    private SentencePieceTokenizer(
            Family family, SentencePiece pieces, SpecialTokens specials, BoundaryIds boundaries, String fingerprint) {
        super(family, boundaries, Math.max(pieces.model().size(), specials.end()), fingerprint);
        this.pieces = pieces;
        this.specials = specials;
    }

    /**
     * Opens a SentencePiece model.
     *
     * @param file the {@code .model} file; for {@link Family#PLAIN}, {@code tokenizer_config.json} beside it is read
     *     too if it is there
     * @param family which special tokens follow the model's own vocabulary
     * @throws TokenizerException if the file is no SentencePiece model or has no end-of-text token
     */
    public static SentencePieceTokenizer open(Path file, Family family) {
        TokenizerFiles files = TokenizerFiles.read(file, family);
        SentencePieceModel model = SentencePiece.parse(files);
        SpecialTokens specials = specials(family, model, files);
        boolean plain = family == Family.PLAIN;
        BoundaryIds boundaries = BoundaryIds.named(
                files, specials::id, plain ? model.bosId() : -1, model.eosId(), plain ? model.padId() : 0);
        return new SentencePieceTokenizer(
                family, SentencePiece.open(files, model), specials, boundaries, files.fingerprint());
    }

    @Override
    int[] encodeOpen(String text) {
        return pieces.encode(text);
    }

    @Override
    int[] encodeWithSpecialsOpen(String text) {
        return specials.encode(text, SpecialTokens.Blanks.KEPT, pieces::encode);
    }

    @Override
    String decodeOpen(int[] ids) {
        List<Object> tokens = new ArrayList<>(ids.length);
        for (int id : ids) {
            tokens.add(token(id));
        }
        String text = pieces.decode(tokens);
        return family() == Family.GLM2 ? TextRules.cleanUp(text) : text;
    }

    private Object token(int id) {
        if (family() != Family.PLAIN
                && (id == eosId() || id == padId() || id == pieces.model().bosId())) {
            return "";
        }
        if (id < pieces.model().size()) {
            return id;
        }
        return family() == Family.GLM3 ? specials.name(id).orElse("") : "";
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

    private static SpecialTokens specials(Family family, SentencePieceModel model, TokenizerFiles files) {
        Map<String, Integer> ids = SentencePiece.pieces(model, SentencePieceModel.CONTROL, SentencePieceModel.UNKNOWN);
        int next = model.size();
        for (String name : family.appended()) {
            ids.put(name, next++);
        }
        ids.putAll(files.addedTokens());
        return new SpecialTokens(ids, family == Family.PLAIN ? ids.keySet() : family.typeable());
    }
}
