package org.shardloom.worker.tokenizer;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Cuts normalised text into the likeliest pieces of a unigram model (Kudo 2018, "Subword Regularization"), by Viterbi's
 * algorithm on its UTF-8 bytes.
 *
 * <p>It is there for ties: of "aa a" and "a aa", equally likely, rounding decides. SentencePiece sums path scores in
 * fp32 since 0.2.2, on which the reference ids rest; the native library is older and sums in double. Everything else the
 * two do alike.
 */
final class UnigramSegmenter {
    /** What an unknown character costs more than the least likely piece. */
    private static final float UNKNOWN_PENALTY = 10;
    /** Next to no cost: a user-defined piece always wins. */
    private static final float USER_DEFINED_SCORE = -0.1f;

    private final SentencePieceModel model;
    private final ByteTrie trie = new ByteTrie();
    private final byte[][] surfaces;
    private final int[] byteIds = new int[256];
    private final float unknownScore;
    private final int unknownId;

    UnigramSegmenter(SentencePieceModel model) {
        this.model = model;
        this.surfaces = new byte[model.size()][];
        Arrays.fill(byteIds, -1);
        float least = Float.MAX_VALUE;
        int unknown = -1;
        for (int id = 0; id < model.size(); id++) {
            surfaces[id] = model.piece(id).getBytes(StandardCharsets.UTF_8);
            switch (model.type(id)) {
                case SentencePieceModel.NORMAL -> {
                    least = Math.min(least, model.score(id));
                    trie.put(surfaces[id], id);
                }
                case SentencePieceModel.USER_DEFINED -> trie.put(surfaces[id], id);
                case SentencePieceModel.BYTE -> {
                    int value = model.byteValue(id);
                    surfaces[id] = new byte[] {(byte) value};
                    byteIds[value] = id;
                }
                case SentencePieceModel.UNKNOWN -> unknown = id;
                default -> {
                    // Control pieces are not in text, unused ones in no segmentation.
                }
            }
        }
        this.unknownScore = least - UNKNOWN_PENALTY;
        this.unknownId = unknown;
    }

    /**
     * Segments a text again.
     *
     * @param ids the native library's segmentation, without unknown pieces: its surfaces are the normalised text
     * @return the segmentation by sums in fp32
     * @throws IllegalStateException if the text has a character that is neither in the model nor has byte pieces
     */
    int[] again(int[] ids) {
        ByteArrayOutputStream text = new ByteArrayOutputStream(ids.length * 4);
        for (int id : ids) {
            if (id == unknownId) {
                throw new IllegalStateException("the SentencePiece model has no byte pieces for unknown characters");
            }
            text.writeBytes(surfaces[id]);
        }
        return segment(text.toByteArray());
    }

    private int[] segment(byte[] text) {
        float[] score = new float[text.length + 1];
        int[] from = new int[text.length + 1];
        int[] piece = new int[text.length + 1];
        Arrays.fill(from, -1);
        for (int begin = 0; begin < text.length; begin = characterEnd(text, begin)) {
            int first = characterEnd(text, begin);
            boolean single = false;
            int node = ByteTrie.ROOT;
            for (int end = begin + 1; end <= text.length; end++) {
                node = trie.next(node, text[end - 1]);
                if (node < 0) {
                    break;
                }
                int id = trie.value(node);
                if (id >= 0) {
                    float own = model.type(id) == SentencePieceModel.NORMAL ? model.score(id) : USER_DEFINED_SCORE;
                    improve(score, from, piece, begin, end, own, id);
                    single |= end == first;
                }
            }
            if (!single) {
                improve(score, from, piece, begin, first, unknownScore, unknownId);
            }
        }
        return path(text, from, piece);
    }

    private static void improve(float[] score, int[] from, int[] piece, int begin, int end, float own, int id) {
        float candidate = own + score[begin];
        if (from[end] < 0 || candidate > score[end]) {
            score[end] = candidate;
            from[end] = begin;
            piece[end] = id;
        }
    }

    /** The best path's ids, with the bytes of unknown characters. */
    private int[] path(byte[] text, int[] from, int[] piece) {
        int[] ids = new int[text.length];
        int next = ids.length;
        for (int end = text.length; end > 0; end = from[end]) {
            if (piece[end] != unknownId) {
                ids[--next] = piece[end];
            } else {
                for (int i = end - 1; i >= from[end]; i--) {
                    ids[--next] = byteIds[text[i] & 0xff];
                }
            }
        }
        return Arrays.copyOfRange(ids, next, ids.length);
    }

    private static int characterEnd(byte[] text, int begin) {
        int end = begin + 1;
        while (end < text.length && (text[end] & 0xc0) == 0x80) {
            end++;
        }
        return end;
    }
}
