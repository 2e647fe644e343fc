package org.shardloom.worker.tokenizer;

import ai.djl.sentencepiece.SpTokenizer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A SentencePiece model: its vocabulary, encoding by the native library, decoding by {@link SentencePieceDecoder}. */
final class SentencePiece {
    private final SentencePieceModel model;
    private final SpTokenizer encoder;

    private SentencePiece(SentencePieceModel model, SpTokenizer encoder) {
        this.model = model;
        this.encoder = encoder;
    }

    /**
     * Reads the vocabulary.
     *
     * @throws TokenizerException if the file is no SentencePiece model
     */
    static SentencePieceModel parse(TokenizerFiles files) {
        try {
            return SentencePieceModel.parse(files.mainBytes());
        } catch (IllegalArgumentException e) {
            throw new TokenizerException(
                    "tokenizer: " + files.main() + " can't be read as a SentencePiece model: " + e.getMessage(), e);
        }
    }

    /**
     * Opens the native library on a model. To be called last when a tokenizer is opened: it holds native memory.
     *
     * @param model what {@link #parse} made of the same files
     * @throws TokenizerException if the library refuses the file
     */
    static SentencePiece open(TokenizerFiles files, SentencePieceModel model) {
        NativeLibraries.configure();
        try {
            return new SentencePiece(model, new SpTokenizer(files.mainBytes()));
        } catch (RuntimeException | LinkageError e) {
            throw new TokenizerException(
                    "tokenizer: " + files.main() + ": the SentencePiece library refused it: " + e, e);
        }
    }

    /** The pieces of the given types: their ids by their text, in order of ids. */
    static Map<String, Integer> pieces(SentencePieceModel model, Integer... types) {
        List<Integer> wanted = List.of(types);
        Map<String, Integer> pieces = new LinkedHashMap<>();
        for (int id = 0; id < model.size(); id++) {
            if (wanted.contains(model.type(id))) {
                pieces.put(model.piece(id), id);
            }
        }
        return pieces;
    }

    SentencePieceModel model() {
        return model;
    }

    /** The ids of a text; unpaired surrogates count as U+FFFD. */
    int[] encode(String text) {
        return text.isEmpty() ? new int[0] : encoder.getProcessor().encode(TextRules.wellFormed(text));
    }

    /**
     * @param tokens {@link Integer} for a piece's id, {@link String} for literal text
     */
    String decode(List<Object> tokens) {
        return SentencePieceDecoder.decode(model, tokens);
    }

    /** Frees native memory. */
    void free() {
        encoder.close();
    }
}
