package org.shardloom.worker.tokenizer;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * Decodes pieces as SentencePiece does. In Java, because a native call can neither be given text that is no piece (the
 * names of special tokens) nor ids out of range.
 *
 * <p>The first piece loses its leading blank (the dummy prefix). A run of byte pieces is read as UTF-8; every byte that
 * belongs to no whole character becomes U+FFFD.
 */
final class SentencePieceDecoder {
    private static final char BLANK = '\u2581';

    private final SentencePieceModel model;
    private final StringBuilder text = new StringBuilder();
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private boolean prefixSeen;

    private SentencePieceDecoder(SentencePieceModel model) {
        this.model = model;
    }

    /**
     * @param model the model
     * @param tokens {@link Integer} for a piece's id, {@link String} for literal text
     */
    static String decode(SentencePieceModel model, List<Object> tokens) {
        SentencePieceDecoder decoder = new SentencePieceDecoder(model);
        for (Object token : tokens) {
            if (token instanceof Integer id) {
                decoder.piece(id);
            } else {
                decoder.literal((String) token);
            }
        }
        decoder.flushBytes();
        return decoder.text.toString();
    }

    private void piece(int id) {
        if (model.type(id) == SentencePieceModel.BYTE) {
            bytes.write(model.byteValue(id));
            return;
        }
        flushBytes();
        switch (model.type(id)) {
            case SentencePieceModel.CONTROL -> {
                // Silent.
            }
            case SentencePieceModel.UNKNOWN -> text.append(model.unknownSurface());
            default -> ordinary(model.piece(id));
        }
    }

    private void ordinary(String piece) {
        int from = 0;
        boolean atStart = !prefixSeen && text.length() == 0;
        if (atStart && (model.addDummyPrefix() || model.removeExtraWhitespaces())) {
            if (!piece.isEmpty() && piece.charAt(0) == BLANK) {
                from = 1;
                prefixSeen = !model.removeExtraWhitespaces();
            }
        }
        text.append(piece.substring(from).replace(BLANK, ' '));
    }

    private void literal(String literal) {
        flushBytes();
        text.append(literal);
    }

    private void flushBytes() {
        byte[] run = bytes.toByteArray();
        bytes.reset();
        int i = 0;
        while (i < run.length) {
            int length = characterLength(run, i);
            if (length == 0) {
                text.append('\uFFFD');
                i++;
            } else {
                text.append(new String(run, i, length, StandardCharsets.UTF_8));
                i += length;
            }
        }
    }

    /** The length of the valid UTF-8 character at {@code i}, or 0. */
    private static int characterLength(byte[] run, int i) {
        int first = run[i] & 0xff;
        int length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
        if (length == 0 || i + length > run.length) {
            return 0;
        }
        for (int k = 1; k < length; k++) {
            if ((run[i + k] & 0xc0) != 0x80) {
                return 0;
            }
        }
        int second = length > 1 ? run[i + 1] & 0xff : 0;
        boolean illegal = first == 0xe0 && second < 0xa0
                || first == 0xed && second > 0x9f
                || first == 0xf0 && second < 0x90
                || first == 0xf4 && second > 0x8f;
        return illegal ? 0 : length;
    }
}
