package org.shardloom.worker.tokenizer;

import java.util.OptionalInt;
import java.util.function.Function;

/**
 * The ids at the ends of texts and rows.
 *
 * @param bos begins a text; empty if the family has none
 * @param eos ends a text
 * @param pad fills up short rows
 */
record BoundaryIds(OptionalInt bos, int eos, int pad) {

    /**
     * The ids that the tokenizer's configuration names, and where it names none, the given ones. Padding falls back on
     * the end of text, as no attention ever goes there.
     *
     * @param idOf a token's id by its text
     * @param bos where the configuration names none, or -1
     * @param eos as {@code bos}
     * @param pad as {@code bos}
     * @throws TokenizerException if no token ends a text
     */
    static BoundaryIds named(TokenizerFiles files, Function<String, OptionalInt> idOf, int bos, int eos, int pad) {
        int end = id(files, "eos_token", idOf, eos);
        if (end < 0) {
            throw new TokenizerException("tokenizer: " + files.main()
                    + " has no end-of-text token; name one as `eos_token` in tokenizer_config.json beside it");
        }
        int begin = id(files, "bos_token", idOf, bos);
        int padding = id(files, "pad_token", idOf, pad);
        return new BoundaryIds(
                begin < 0 ? OptionalInt.empty() : OptionalInt.of(begin), end, padding < 0 ? end : padding);
    }

    private static int id(TokenizerFiles files, String key, Function<String, OptionalInt> idOf, int otherwise) {
        return files.token(key).map(idOf).orElse(OptionalInt.empty()).orElse(otherwise);
    }
}
