package org.shardloom.worker.tokenizer;

import java.util.Optional;
import java.util.OptionalInt;

/** Text to token ids and back. Implementations are safe for use by several threads. */
public interface Tokenizer extends AutoCloseable {

    /** The family whose special tokens this tokenizer has. */
    Family family();

    /**
     * Encodes plain text. Adds no special token, and recognises none: text that looks like one stays text. Unpaired
     * surrogates count as U+FFFD.
     *
     * @param text any text
     * @return its ids; empty for empty text
     */
    int[] encode(String text);

    /**
     * Encodes text in which the names of special tokens stand for these tokens. Only for text from a trusted source:
     * with it a user could pretend to be another role. Adds no special token of its own. ChatGLM3 recognises its four
     * role tokens, ChatGLM2 none, ChatGLM-6B five (without {@code [gMASK]}, and with white space beside them
     * dropped), as their references do; other models all that their files declare.
     *
     * @param text any text
     * @return its ids
     */
    int[] encodeWithSpecials(String text);

    /**
     * Decodes ids the way the family's reference tokenizer does. ChatGLM3 shows special tokens by name, the others hide
     * them; end-of-text and padding are always hidden.
     *
     * @param ids ids below {@link #vocabularySize()}
     * @return the text
     * @throws IllegalArgumentException if an id is out of range
     */
    String decode(int[] ids);

    /** One more than the largest id, special tokens included. A model's own vocabulary may be padded beyond it. */
    int vocabularySize();

    /**
     * The id of a special token.
     *
     * @param name its name, for example {@code [gMASK]} or {@code <|user|>}
     * @return its id; empty if there is no special token of that name
     */
    OptionalInt specialId(String name);

    /**
     * The name of a special token.
     *
     * @param id any id
     * @return its name; empty if it is no special token's
     */
    Optional<String> specialName(int id);

    /** The id that begins a text; empty if the family has none. */
    OptionalInt bosId();

    /** The id that ends a text. */
    int eosId();

    /** The id used to fill up short rows. */
    int padId();

    /** SHA-256 (hexadecimal) over the family and the tokenizer's files: equal fingerprints encode alike. */
    String fingerprint();

    /** Frees native memory. Idempotent; every other use afterwards is an {@link IllegalStateException}. */
    @Override
    void close();
}
