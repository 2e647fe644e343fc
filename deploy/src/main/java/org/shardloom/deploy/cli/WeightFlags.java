package org.shardloom.deploy.cli;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.shardloom.worker.weights.WeightDtype;
import picocli.CommandLine.Option;

/** How weights are written. */
final class WeightFlags {
    private static final Pattern SIZE =
            Pattern.compile("0*([1-9]\\d{0,8}) *(?:([KMGT])(i)?B?)?", Pattern.CASE_INSENSITIVE);

    @Option(
            names = "--dtype",
            paramLabel = "fp16|bf16|fp32",
            description = "Type of the weights; default: that of the model's files, bf16 for a checkpoint."
                    + " Ignored for adapters and prefixes, which are written in fp32.")
    private String dtype;

    @Option(
            names = "--max-shard-size",
            paramLabel = "SIZE",
            defaultValue = "5GB",
            description = "Largest file, such as 5GB, 200MB or 2GiB, in MB without a unit; default: ${DEFAULT-VALUE}.")
    private String maxShardSize;

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

    /** Largest file, in bytes. */
    long maxShardBytes() {
        Matcher size = SIZE.matcher(maxShardSize.strip());
        if (!size.matches()) {
            throw new Failures.UsageException("--max-shard-size is '" + maxShardSize
                    + "', expected a size of 1 KB or more, such as 5GB or 200MB");
        }
        long step = size.group(3) == null ? 1000 : 1024;
        int power =
                1 + "KMGT".indexOf(size.group(2) == null ? "M" : size.group(2).toUpperCase(Locale.ROOT));
        return Math.round(Long.parseLong(size.group(1)) * Math.pow(step, power));
    }
}
