package org.shardloom.protocol.config;

import java.util.List;

/** A tuning method with its options read: which parameters are trained, and how. */
public sealed interface TuningMethod {

    /** How frozen matrices are kept. */
    enum Quantization {
        /** In the training dtype. */
        NONE,
        /** Four bits a value and an fp32 scale for 64 of them. */
        NF4,
        /** The same with scales of eight bits. */
        NF4_DOUBLE
    }

    /** All parameters. */
    record Full() implements TuningMethod {}

    /**
     * Some of the model's own parameters, the others frozen.
     *
     * @param patterns parts of names: a parameter is trained whose name in checkpoint files contains one of them
     * @param lastLayers number of layers from the top whose parameters are all trained; 0 for none
     */
    record Freeze(List<String> patterns, int lastLayers) implements TuningMethod {
        public Freeze {
            patterns = List.copyOf(patterns);
        }
    }

    /**
     * Low-rank adapters (Hu et al., 2021): y = W x + alpha / rank * B A x with W frozen, A [rank, in] and B [out, rank] trained in fp32.
     *
     * @param rank inner width of an adapter
     * @param alpha numerator of the adapter's scale
     * @param dropout probability that an input of A is zero in training, from 0 to below 1
     * @param targets names of linear modules, or of groups of them: {@code attention}, {@code all}
     * @param base how the frozen matrices of the layers are kept: QLoRA (Dettmers et al., 2023) where they are quantised
     */
    record Lora(int rank, double alpha, double dropout, List<String> targets, Quantization base)
            implements TuningMethod {
        public Lora {
            targets = List.copyOf(targets);
        }

        /** Over a base that is not quantised. */
        public Lora(int rank, double alpha, double dropout, List<String> targets) {
            this(rank, alpha, dropout, targets, Quantization.NONE);
        }

        /** The same adapters over another base. */
        public Lora over(Quantization other) {
            return new Lora(rank, alpha, dropout, targets, other);
        }

        /** Factor on an adapter's output. */
        public double scale() {
            return alpha / rank;
        }
    }

    /**
     * P-Tuning (Liu et al., 2021, "GPT Understands, Too"): trained embeddings of virtual tokens before those of each sequence; the model is
     * frozen.
     *
     * @param tokens number of virtual tokens
     */
    record PTuning(int tokens) implements TuningMethod {}

    /**
     * P-Tuning v2 (Liu et al., 2021): trained keys and values before those of the tokens, in every layer; the model is frozen.
     *
     * @param prefixLength number of trained keys and values of a head
     * @param projection whether they are made from a smaller table by two linear layers (Li and Liang, 2021)
     */
    record PTuningV2(int prefixLength, boolean projection) implements TuningMethod {
        /** What is left of it when the projection has been computed once and for all. */
        public PTuningV2 projected() {
            return new PTuningV2(prefixLength, false);
        }
    }
}
