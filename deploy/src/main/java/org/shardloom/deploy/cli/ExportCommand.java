package org.shardloom.deploy.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.deploy.launch.OutputLock;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.FinalModel;
import org.shardloom.worker.weights.WeightDtype;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom export}. */
@Command(
        name = "export",
        description = {
            "Turns a checkpoint into what its run would leave behind: a Hugging Face directory of the whole model, or, where LoRA,"
                    + " QLoRA, P-Tuning or P-Tuning v2 were trained, of the adapter or prefix alone.",
            "To get a whole model with the adapter in it, merge the adapter afterwards."
        },
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

    @Mixin
    private WeightFlags weights;

    @Override
    public Integer call() throws Exception {
        if (Files.exists(output)) {
            throw new Failures.UsageException(output + " exists already");
        }
        OutputLock.heal(checkpoint);
        Path directory = Files.exists(checkpoint.resolve("manifest.pb"))
                ? checkpoint
                : CheckpointFiles.latest(checkpoint)
                        .orElseThrow(() -> new Failures.UsageException("no complete checkpoint in " + checkpoint));
        try (Checkpoint opened = Checkpoint.open(directory, true)) {
            JobConfig job = JobFile.parse(opened.manifest().getJobYaml(), directory + "/manifest.pb", List.of())
                    .config();
            FinalModel.write(
                    opened,
                    job,
                    output.toAbsolutePath().normalize(),
                    weights.dtype(WeightDtype.BF16),
                    weights.maxShardBytes());
        }
        System.out.println("written: " + output);
        return 0;
    }
}
