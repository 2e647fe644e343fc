package org.shardloom.deploy.quickstart;

import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/**
 * Makes a SentencePiece {@code tokenizer.model} from a list of words, without training one.
 *
 * <p>The vocabulary, in the order of its ids:
 *
 * <pre>
 *   0              &lt;unk&gt;
 *   1              &lt;s&gt;
 *   2              &lt;/s&gt;
 *   3 .. 258       &lt;0x00&gt; .. &lt;0xFF&gt;    bytes of whatever has no piece; the line break is 13, as in ChatGLM3
 *   259            U+2581, the blank
 *   260 .. 353     ! .. ~              the other printable ASCII characters, digits among them
 *   354 ..         each word twice: after a blank (U+2581 + word), then alone
 * </pre>
 *
 * <p>The model is a unigram one: a text is cut so that the sum of its pieces' scores is the greatest. A word costs
 * less than any single character does, so a listed word is always one piece; no piece has two digits, so numbers are
 * always cut digit by digit. As in ChatGLM3, text is not normalized, gets a blank in front, and keeps extra blanks.
 * The field numbers are those of the public {@code sentencepiece_model.proto}.
 */
public final class SentencePieceModelWriter {

    /** What SentencePiece writes for a blank. */
    static final String BLANK = "\u2581";

    private static final float WORD_SCORE = -2f;
    private static final float CHARACTER_SCORE = -10f;

    // enum SentencePiece.Type
    private static final int NORMAL = 1;
    private static final int UNKNOWN = 2;
    private static final int CONTROL = 3;
    private static final int BYTE = 6;

    // message ModelProto
    private static final int MODEL_PIECES = 1;
    private static final int MODEL_TRAINER_SPEC = 2;
    private static final int MODEL_NORMALIZER_SPEC = 3;

    // message ModelProto.SentencePiece
    private static final int PIECE_TEXT = 1;
    private static final int PIECE_SCORE = 2;
    private static final int PIECE_TYPE = 3;

    // message TrainerSpec
    private static final int TRAINER_MODEL_TYPE = 3;
    private static final int TRAINER_VOCAB_SIZE = 4;
    private static final int TRAINER_SPLIT_DIGITS = 25;
    private static final int TRAINER_BYTE_FALLBACK = 35;
    private static final int TRAINER_UNK_ID = 40;
    private static final int TRAINER_BOS_ID = 41;
    private static final int TRAINER_EOS_ID = 42;
    private static final int TRAINER_PAD_ID = 43;
    private static final int MODEL_TYPE_UNIGRAM = 1;

    // message NormalizerSpec
    private static final int NORMALIZER_NAME = 1;
    private static final int NORMALIZER_ADD_DUMMY_PREFIX = 3;
    private static final int NORMALIZER_REMOVE_EXTRA_WHITESPACES = 4;
    private static final int NORMALIZER_ESCAPE_WHITESPACES = 5;

    private final List<Piece> pieces;

    private SentencePieceModelWriter(List<Piece> pieces) {
        this.pieces = List.copyOf(pieces);
    }

    private record Piece(String text, float score, int type) {}

    /**
     * Prepares a model in which every given word is one piece.
     *
     * @param words without blanks; a word of one ASCII character already has its piece and adds only the one after a
     *     blank
     * @return the writer
     * @throws IllegalArgumentException if a word is empty, or has a blank or a digit (numbers would
     *     no longer be cut digit by digit)
     */
    public static SentencePieceModelWriter create(Collection<String> words) {
        List<Piece> pieces = new ArrayList<>();
        pieces.add(new Piece("<unk>", 0f, UNKNOWN));
        pieces.add(new Piece("<s>", 0f, CONTROL));
        pieces.add(new Piece("</s>", 0f, CONTROL));
        for (int value = 0; value < 256; value++) {
            pieces.add(new Piece(String.format(Locale.ROOT, "<0x%02X>", value), 0f, BYTE));
        }
        Set<String> characters = new LinkedHashSet<>();
        characters.add(BLANK);
        for (char c = '!'; c <= '~'; c++) {
            characters.add(String.valueOf(c));
        }
        characters.forEach(text -> pieces.add(new Piece(text, CHARACTER_SCORE, NORMAL)));

        Set<String> wordPieces = new LinkedHashSet<>();
        for (String word : words) {
            requireWord(word);
            wordPieces.add(BLANK + word);
            wordPieces.add(word);
        }
        wordPieces.removeAll(characters);
        wordPieces.forEach(text -> pieces.add(new Piece(text, WORD_SCORE, NORMAL)));
        return new SentencePieceModelWriter(pieces);
    }

    /**
     * How many pieces the model has. ChatGLM3's own special tokens get the ids from here on.
     *
     * @return the size of the vocabulary
     */
    public int size() {
        return pieces.size();
    }

    /**
     * The content of {@code tokenizer.model}.
     *
     * @return a serialized {@code ModelProto}; equal words give equal bytes
     */
    public byte[] toByteArray() {
        return message(model -> {
            for (Piece piece : pieces) {
                model.writeByteArray(MODEL_PIECES, message(out -> {
                    out.writeString(PIECE_TEXT, piece.text());
                    out.writeFloat(PIECE_SCORE, piece.score());
                    out.writeEnum(PIECE_TYPE, piece.type());
                }));
            }
            model.writeByteArray(MODEL_TRAINER_SPEC, message(out -> {
                out.writeEnum(TRAINER_MODEL_TYPE, MODEL_TYPE_UNIGRAM);
                out.writeInt32(TRAINER_VOCAB_SIZE, pieces.size());
                out.writeBool(TRAINER_SPLIT_DIGITS, true);
                out.writeBool(TRAINER_BYTE_FALLBACK, true);
                out.writeInt32(TRAINER_UNK_ID, 0);
                out.writeInt32(TRAINER_BOS_ID, 1);
                out.writeInt32(TRAINER_EOS_ID, 2);
                out.writeInt32(TRAINER_PAD_ID, -1);
            }));
            model.writeByteArray(MODEL_NORMALIZER_SPEC, message(out -> {
                out.writeString(NORMALIZER_NAME, "identity");
                out.writeBool(NORMALIZER_ADD_DUMMY_PREFIX, true);
                out.writeBool(NORMALIZER_REMOVE_EXTRA_WHITESPACES, false);
                out.writeBool(NORMALIZER_ESCAPE_WHITESPACES, true);
            }));
        });
    }

    private static void requireWord(String word) {
        if (word.isEmpty() || word.contains(" ") || word.contains(BLANK)) {
            throw new IllegalArgumentException("a word must be non-empty and without blanks, but is '" + word + "'");
        }
        if (word.chars().anyMatch(c -> c >= '0' && c <= '9')) {
            throw new IllegalArgumentException(
                    "a word must not have digits, which are always pieces of their own, but is '" + word + "'");
        }
    }

    /** Writes the fields of one message. */
    @FunctionalInterface
    private interface Fields {
        void writeTo(CodedOutputStream out) throws IOException;
    }

    private static byte[] message(Fields fields) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        CodedOutputStream out = CodedOutputStream.newInstance(bytes);
        try {
            fields.writeTo(out);
            out.flush();
        } catch (IOException e) {
            throw new UncheckedIOException("writing to memory failed", e);
        }
        return bytes.toByteArray();
    }
}
