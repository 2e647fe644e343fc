package org.shardloom.deploy.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.weights.WeightDtype;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code shardloom export}. */
@Command(
        name = "export",
        description = "Turns a checkpoint into a Hugging Face directory.",
        mixinStandardHelpOptions = true)
final class ExportCommand implements Callable<Integer> {
    @Option(
            names = "--checkpoint",
            required = true,
            paramLabel = "DIR",
            description = "A checkpoint directory, or a run's output_dir for its newest.")
    private Path checkpoint;

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "Directory to make; must not exist.")
    private Path output;

    @Option(
            names = "--dtype",
            paramLabel = "fp16|bf16|fp32",
            defaultValue = "bf16",
            description = "Type of the weights; default: ${DEFAULT-VALUE}.")
    private String dtype;

    @Option(
            names = "--max-shard-size",
            paramLabel = "MB",
            defaultValue = "5000",
            description = "Largest file, in MB; default: ${DEFAULT-VALUE}.")
    private long maxShardMegabytes;

    @Override
    public Integer call() throws Exception {
        WeightDtype type =
                switch (dtype.toLowerCase(Locale.ROOT)) {
                    case "fp16" -> WeightDtype.F16;
                    case "bf16" -> WeightDtype.BF16;
                    case "fp32" -> WeightDtype.F32;
                    default -> throw new Failures.UsageException(
                            "--dtype is one of fp16, bf16, fp32; found '" + dtype + "'");
                };
        if (Files.exists(output)) {
            throw new Failures.UsageException(output + " exists already");
        }
        Path directory = Files.exists(checkpoint.resolve("manifest.pb"))
                ? checkpoint
                : CheckpointFiles.latest(checkpoint)
                        .orElseThrow(() -> new Failures.UsageException("no complete checkpoint in " + checkpoint));
        try (Checkpoint opened = Checkpoint.open(directory, true)) {
            JobConfig job = JobFile.parse(opened.manifest().getJobYaml(), directory + "/manifest.pb", List.of())
                    .config();
            Path tokenizer = Files.isDirectory(job.tokenizer())
                    ? job.tokenizer()
                    : job.tokenizer().getParent();
            HuggingFaceExport.write(
                    opened,
                    DecoderUnits.of(ModelConfigReader.read(job.model().path())),
                    job.model().path(),
                    tokenizer,
                    output.toAbsolutePath().normalize(),
                    type,
                    maxShardMegabytes * 1_000_000);
        }
        System.out.println("written: " + output);
        return 0;
    }
}
