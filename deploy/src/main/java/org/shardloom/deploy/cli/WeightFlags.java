package org.shardloom.deploy.cli;

import java.util.Locale;
import org.shardloom.worker.weights.WeightDtype;
import picocli.CommandLine.Option;

/** How weights are written. */
final class WeightFlags {
    @Option(
            names = "--dtype",
            paramLabel = "fp16|bf16|fp32",
            description = "Type of the weights; default: that of the model's files, bf16 for a checkpoint."
                    + " Ignored for adapters and prefixes, which are written in fp32.")
    private String dtype;

    @Option(
            names = "--max-shard-size",
            paramLabel = "MB",
            defaultValue = "5000",
            description = "Largest file, in MB; default: ${DEFAULT-VALUE}.")
    private long maxShardMegabytes;

    /** What was asked for, or else that. */
    WeightDtype dtype(WeightDtype otherwise) {
        if (dtype == null) {
            return otherwise;
        }
        return switch (dtype.toLowerCase(Locale.ROOT)) {
            case "fp16" -> WeightDtype.F16;
            case "bf16" -> WeightDtype.BF16;
            case "fp32" -> WeightDtype.F32;
            default -> throw new Failures.UsageException("--dtype is one of fp16, bf16, fp32; found '" + dtype + "'");
        };
    }

    long maxShardBytes() {
        if (maxShardMegabytes < 1) {
            throw new Failures.UsageException("--max-shard-size is " + maxShardMegabytes + ", expected 1 or more");
        }
        return maxShardMegabytes * 1_000_000;
    }
}
