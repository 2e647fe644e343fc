package org.shardloom.deploy.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.checkpoint.TrainedAs;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.MasterWeights;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom convert}. */
@Command(
        name = "convert",
        description = {
            "Writes a model's weights anew: PyTorch .bin files as safetensors, in another dtype, in files of another size.",
            "Memory stays bounded whatever the model's size. For a run's checkpoint: shardloom export; for an adapter: shardloom merge."
        },
        mixinStandardHelpOptions = true)
final class ConvertCommand implements Callable<Integer> {
    @Option(names = "--model", required = true, paramLabel = "DIR", description = "A Hugging Face directory.")
    private Path model;

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "Directory to make; must not exist.")
    private Path output;

    @Mixin
    private WeightFlags weights;

    @Override
    public Integer call() throws Exception {
        if (Files.exists(output)) {
            throw new Failures.UsageException(output + " exists already");
        }
        if (Files.exists(model.resolve("manifest.pb"))) {
            throw new Failures.UsageException(model + " is a checkpoint: use shardloom export --checkpoint " + model);
        }
        if (AdapterFiles.isAdapter(model)) {
            throw new Failures.UsageException(model + " holds an adapter: use shardloom merge --adapter " + model);
        }
        List<UnitSpec> units = DecoderUnits.of(ModelConfigReader.read(model));
        try (TensorSource source = WeightsDirectory.open(model)) {
            MasterWeights.check(units, source, model.toString());
            HuggingFaceExport.write(
                    source,
                    units,
                    model,
                    model,
                    TrainedAs.read(model),
                    output.toAbsolutePath().normalize(),
                    weights.dtype(MergeCommand.dtypeOf(source, units)),
                    weights.maxShardBytes());
        }
        System.out.println("written: " + output);
        return 0;
    }
}
