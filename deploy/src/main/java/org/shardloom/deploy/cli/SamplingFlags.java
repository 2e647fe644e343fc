package org.shardloom.deploy.cli;

import org.shardloom.worker.generate.SamplingOptions;
import picocli.CommandLine.Option;

/** The flags that say how tokens are chosen. */
final class SamplingFlags {
    @Option(
            names = "--temperature",
            defaultValue = "0",
            paramLabel = "T",
            description =
                    "Above 0: draw tokens at random, the more boldly the higher; default: 0, the likeliest always.")
    private double temperature;

    @Option(
            names = "--top-k",
            defaultValue = "0",
            paramLabel = "K",
            description = "Draw from the K likeliest tokens only; default: from all.")
    private int topK;

    @Option(
            names = "--top-p",
            defaultValue = "1",
            paramLabel = "P",
            description = "Draw from the fewest tokens whose probabilities reach P only; default: from all.")
    private double topP;

    @Option(
            names = "--repetition-penalty",
            defaultValue = "1",
            paramLabel = "R",
            description = "Above 1: make tokens less likely that occurred already; default: ${DEFAULT-VALUE}.")
    private double repetitionPenalty;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Draws the same answers again, with a temperature; default: 1234.")
    private Long seed;

    /** The checked options; what they contradict is an error of usage. */
    SamplingOptions options() {
        if (seed != null && temperature == 0) {
            throw new Failures.UsageException("--seed has no effect without a --temperature above 0");
        }
        try {
            return new SamplingOptions(temperature, topK, topP, repetitionPenalty, seed == null ? 1234 : seed);
        } catch (IllegalArgumentException e) {
            throw new Failures.UsageException("--" + e.getMessage());
        }
    }
}
