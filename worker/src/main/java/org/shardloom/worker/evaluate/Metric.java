package org.shardloom.worker.evaluate;

/** What {@link Scorer} computes. Every value is between 0 and 1; higher is better. */
public enum Metric {
    /** F1 of words. */
    ROUGE_1("rouge-1"),
    /** F1 of pairs of words. */
    ROUGE_2("rouge-2"),
    /** F1 of the longest common subsequence of words. */
    ROUGE_L("rouge-l"),
    /** Smoothed sentence BLEU-4, averaged over samples. */
    BLEU_4("bleu-4"),
    /** BLEU-4 of all samples together; the one metric that is not a mean over samples. */
    CORPUS_BLEU_4("corpus-bleu-4"),
    /** Share of answers that equal the reference but for white space. */
    EXACT_MATCH("exact-match"),
    /** F1 of the sets of lines. */
    LINE_F1("line-f1");

    private final String label;

    Metric(String label) {
        this.label = label;
    }

    /** The name under which results are written: {@code rouge-l}. */
    public String label() {
        return label;
    }
}
