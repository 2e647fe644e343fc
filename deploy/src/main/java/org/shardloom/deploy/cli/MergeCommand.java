package org.shardloom.deploy.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.MergedSource;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom merge}. */
@Command(
        name = "merge",
        description = "Merges a low-rank adapter into its base model and writes a Hugging Face directory.",
        mixinStandardHelpOptions = true)
final class MergeCommand implements Callable<Integer> {
    private static final int PROBE_POSITIONS = 64;

    @Option(
            names = "--adapter",
            required = true,
            paramLabel = "DIR",
            description = "adapter_config.json and adapter_model.safetensors, such as a run's final/.")
    private Path adapter;

    @Option(
            names = "--base",
            paramLabel = "DIR",
            description = "The model that the adapter belongs to; default: the one that it names.")
    private Path base;

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "Directory to make; must not exist.")
    private Path output;

    @Option(
            names = "--no-probe",
            description = "Do not load the model to see that the adapter acts, for want of memory.")
    private boolean noProbe;

    @Mixin
    private WeightFlags weights;

    @Override
    public Integer call() throws Exception {
        if (Files.exists(output)) {
            throw new Failures.UsageException(output + " exists already");
        }
        if (!AdapterFiles.isAdapter(adapter)) {
            throw new Failures.UsageException("no adapter_config.json in " + adapter);
        }
        if (!(AdapterFiles.read(adapter).method() instanceof TuningMethod.Lora lora)) {
            throw new Failures.UsageException(
                    adapter
                            + " holds a prefix or virtual tokens, which cannot be merged into weights; use it with --model where it is");
        }
        try (ModelSource source = ModelSource.of(adapter, base)) {
            if (!noProbe) {
                int threads = Runtime.getRuntime().availableProcessors();
                try (LoadedModel loaded = LoadedModel.open(source, threads, PROBE_POSITIONS)) {
                    Adaptation.announce(loaded, adapter);
                }
            }
            Path model = source.modelDirectory();
            List<UnitSpec> units = DecoderUnits.of(ModelConfigReader.read(model));
            try (TensorSource below = WeightsDirectory.open(model);
                    TensorSource above = WeightsDirectory.openAdapter(adapter)) {
                String first =
                        units.get(1).parameter("qkv.weight").sources().get(0).name();
                HuggingFaceExport.write(
                        new MergedSource(
                                ModelSource.asTrainedOn(below, ModelConfigReader.read(model), lora),
                                above,
                                lora.scale()),
                        units,
                        model,
                        model,
                        output.toAbsolutePath().normalize(),
                        weights.dtype(below.info(first).dtype()),
                        weights.maxShardBytes());
            }
        }
        System.out.println("written: " + output);
        return 0;
    }
}
