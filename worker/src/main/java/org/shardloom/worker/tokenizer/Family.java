package org.shardloom.worker.tokenizer;

import java.util.List;

/** How a model family extends its vocabulary with special tokens. */
public enum Family {
    /** ChatGLM-6B: its SentencePiece vocabulary has the special tokens; they are hidden when decoded. */
    GLM1(List.of(), List.of("<sop>", "<eop>", "<unk>", "<pad>", "[MASK]")),
    /** ChatGLM2: mask and start tokens after the SentencePiece vocabulary, hidden when decoded. */
    GLM2(List.of("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop"), List.of()),
    /** ChatGLM3: as ChatGLM2, and the four role tokens; special tokens keep their names when decoded. */
    GLM3(
            List.of(
                    "[MASK]",
                    "[gMASK]",
                    "[sMASK]",
                    "sop",
                    "eop",
                    "<|system|>",
                    "<|user|>",
                    "<|assistant|>",
                    "<|observation|>"),
            List.of("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")),
    /** Any other model: its files say which tokens are special. */
    PLAIN(List.of(), List.of());

    private final List<String> appended;
    private final List<String> typeable;

    Family(List<String> appended, List<String> typeable) {
        this.appended = appended;
        this.typeable = typeable;
    }

    /** The special tokens that take the ids after the SentencePiece vocabulary, in order. */
    List<String> appended() {
        return appended;
    }

    /** The special tokens that {@link Tokenizer#encodeWithSpecials} recognises in text. */
    List<String> typeable() {
        return typeable;
    }
}
