package org.shardloom.worker.tokenizer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * The parts of a SentencePiece model file that decoding and special tokens need. Encoding stays with the native
 * library.
 *
 * <p>Layout (Protobuf): field 1, repeated, a piece {1: text, 2: score, 3: type}; field 2, the trainer's options {44:
 * surface of the unknown piece, 46-48: names of begin, end and padding}; field 3, the normalizer's {3: dummy prefix, 4:
 * remove extra blanks}.
 */
final class SentencePieceModel {
    static final int NORMAL = 1;
    static final int UNKNOWN = 2;
    static final int CONTROL = 3;
    static final int USER_DEFINED = 4;
    static final int BYTE = 6;

    private final List<String> pieces = new ArrayList<>();
    private final List<Integer> types = new ArrayList<>();
    private final List<Float> scores = new ArrayList<>();
    private String unknownSurface = " \u2047 ";
    private String bosPiece = "<s>";
    private String eosPiece = "</s>";
    private String padPiece = "<pad>";
    private boolean addDummyPrefix = true;
    private boolean removeExtraWhitespaces = true;

    private SentencePieceModel() {}

    /**
     * Parses a model.
     *
     * @throws IllegalArgumentException if the bytes are no SentencePiece model
     */
    static SentencePieceModel parse(byte[] bytes) {
        SentencePieceModel model = new SentencePieceModel();
        WireReader in = new WireReader(bytes, 0, bytes.length);
        while (in.next()) {
            switch (in.field()) {
                case 1 -> model.readPiece(in.message());
                case 2 -> model.readTrainer(in.message());
                case 3 -> model.readNormalizer(in.message());
                default -> {
                    // Self-test data, denormalizer: not needed.
                }
            }
        }
        if (model.pieces.isEmpty()) {
            throw new IllegalArgumentException("it has no pieces");
        }
        return model;
    }

    int size() {
        return pieces.size();
    }

    String piece(int id) {
        return pieces.get(id);
    }

    int type(int id) {
        return types.get(id);
    }

    /** The logarithm of a piece's probability, in a unigram model. */
    float score(int id) {
        return scores.get(id);
    }

    /** The byte, as 0 to 255, that a byte piece such as {@code <0x0A>} stands for. */
    int byteValue(int id) {
        return Integer.parseInt(piece(id).substring(3, 5), 16);
    }

    /** The id of a control or unknown piece, or -1. */
    int specialPiece(String name) {
        int id = pieces.indexOf(name);
        return id >= 0 && (type(id) == CONTROL || type(id) == UNKNOWN) ? id : -1;
    }

    int bosId() {
        return specialPiece(bosPiece);
    }

    int eosId() {
        return specialPiece(eosPiece);
    }

    int padId() {
        return specialPiece(padPiece);
    }

    String unknownSurface() {
        return unknownSurface;
    }

    boolean addDummyPrefix() {
        return addDummyPrefix;
    }

    boolean removeExtraWhitespaces() {
        return removeExtraWhitespaces;
    }

    private void readPiece(WireReader in) {
        String text = "";
        float score = 0;
        int type = NORMAL;
        while (in.next()) {
            if (in.field() == 1) {
                text = in.text();
            } else if (in.field() == 2) {
                score = in.real();
            } else if (in.field() == 3) {
                type = (int) in.number();
            }
        }
        pieces.add(text);
        scores.add(score);
        types.add(type);
    }

    private void readTrainer(WireReader in) {
        while (in.next()) {
            switch (in.field()) {
                case 44 -> unknownSurface = in.text();
                case 46 -> bosPiece = in.text();
                case 47 -> eosPiece = in.text();
                case 48 -> padPiece = in.text();
                default -> {
                    // How the model was trained.
                }
            }
        }
    }

    private void readNormalizer(WireReader in) {
        while (in.next()) {
            if (in.field() == 3) {
                addDummyPrefix = in.number() != 0;
            } else if (in.field() == 4) {
                removeExtraWhitespaces = in.number() != 0;
            }
        }
    }

    /** Reads one message's fields in order. */
    private static final class WireReader {
        private final byte[] bytes;
        private final int end;
        private int position;
        private int field;
        private long number;
        private int from;
        private int to;

        WireReader(byte[] bytes, int start, int end) {
            this.bytes = bytes;
            this.position = start;
            this.end = end;
        }

        boolean next() {
            if (position == end) {
                return false;
            }
            long tag = varint();
            field = (int) (tag >>> 3);
            from = to = 0;
            switch ((int) (tag & 7)) {
                case 0 -> number = varint();
                case 1 -> skip(8);
                case 2 -> skip(varint());
                case 5 -> skip(4);
                default -> throw new IllegalArgumentException("its bytes are no SentencePiece model");
            }
            if (field == 0) {
                throw new IllegalArgumentException("its bytes are no SentencePiece model");
            }
            return true;
        }

        int field() {
            return field;
        }

        long number() {
            return number;
        }

        String text() {
            return new String(bytes, from, to - from, StandardCharsets.UTF_8);
        }

        float real() {
            if (to - from != Float.BYTES) {
                throw new IllegalArgumentException("its bytes are no SentencePiece model");
            }
            return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).getFloat(from);
        }

        WireReader message() {
            return new WireReader(bytes, from, to);
        }

        private void skip(long length) {
            if (length < 0 || length > end - position) {
                throw new IllegalArgumentException("it is cut off or no SentencePiece model");
            }
            from = position;
            position += (int) length;
            to = position;
        }

        private long varint() {
            long value = 0;
            for (int shift = 0; shift < 64; shift += 7) {
                if (position == end) {
                    throw new IllegalArgumentException("it is cut off or no SentencePiece model");
                }
                byte b = bytes[position++];
                value |= (long) (b & 0x7f) << shift;
                if (b >= 0) {
                    return value;
                }
            }
            throw new IllegalArgumentException("its bytes are no SentencePiece model");
        }
    }
}
