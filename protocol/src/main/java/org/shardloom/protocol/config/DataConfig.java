package org.shardloom.protocol.config;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The samples, and how they become sequences of tokens.
 *
 * @param train training files, in order; at least one
 * @param weights how often each training file is seen in an epoch, as many as files; empty: each once
 * @param eval evaluation file, if any
 * @param format what a line of these files holds
 * @param template how a conversation is laid out for the model
 * @param maxLength longest sequence, in tokens
 * @param maxSourceLength longest prompt, in tokens; at most {@code maxLength}
 * @param shuffle whether each epoch has its own order
 * @param truncate whether longer samples are cut; otherwise they are skipped and counted
 */
public record DataConfig(
        List<Path> train,
        List<Double> weights,
        Optional<Path> eval,
        Format format,
        Template template,
        int maxLength,
        int maxSourceLength,
        boolean shuffle,
        boolean truncate) {
    private static final int MAX_DEFAULT_SOURCE_LENGTH = 1024;

    /** The longest prompt where a job does not say: two thirds of the sequence, at most 1024 tokens. */
    public static int defaultMaxSourceLength(int maxLength) {
        return (int) Math.max(1, Math.min(MAX_DEFAULT_SOURCE_LENGTH, maxLength * 2L / 3));
    }

    /** Copies the lists. */
    public DataConfig {
        train = List.copyOf(train);
        weights = List.copyOf(weights);
    }

    /** What a line of a data file holds. */
    public enum Format {
        /** {@code instruction}, {@code input}, {@code output}. */
        ALPACA,
        /** {@code conversations} of {@code from} and {@code value}. */
        SHAREGPT,
        /** {@code conversations} of {@code role} and {@code content}, with tools. */
        CHATGLM3,
        /** {@code input_ids} and {@code labels}. */
        PRETOKENIZED
    }

    /** How a conversation is laid out for the model. */
    public enum Template {
        /** Chosen by the model's architecture and tokenizer. */
        AUTO,
        /** Numbered rounds before {@code [gMASK]}, as ChatGLM-6B was trained. */
        CHATGLM,
        /** Numbered rounds, as ChatGLM2-6B was trained. */
        CHATGLM2,
        /** Role tokens, as ChatGLM3-6B was trained. */
        CHATGLM3,
        /** Prompt, then answer, nothing between. */
        PLAIN
    }
}
