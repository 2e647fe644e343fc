package org.shardloom.deploy.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.generate.MergeProbe;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.MergedSource;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.weights.WeightsException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom merge}. */
@Command(
        name = "merge",
        description = "Merges a low-rank adapter into its base model and writes a Hugging Face directory.",
        mixinStandardHelpOptions = true)
final class MergeCommand implements Callable<Integer> {
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
            description =
                    "Do not compute a few logits of the written model to see that they are those of base and adapter together.")
    private boolean noProbe;

    @Mixin
    private WeightFlags weights;

    /** What is looked at before the merged model has its name. An adapter that changes nothing is not merged at all. */
    private WholeDirectory.Writer probe(
            DecoderConfig config, TuningMethod.Lora lora, TensorSource base, TensorSource factors, WeightDtype dtype)
            throws IOException {
        if (noProbe) {
            return directory -> {};
        }
        MergeProbe probe =
                MergeProbe.of(config, lora, base, factors, Runtime.getRuntime().availableProcessors());
        Adaptation.announceMerged(probe.effect(), adapter);
        return directory -> {
            try (TensorSource written = WeightsDirectory.open(directory)) {
                Adaptation.requireMerged(
                        probe.compare(written, dtype),
                        probe.effect(),
                        output + " (" + dtype + ", merged with " + adapter + ")",
                        dtype);
            }
        };
    }

    /** That of the matrices in the model's files. */
    static WeightDtype dtypeOf(TensorSource model, List<UnitSpec> units) throws WeightsException {
        return model.info(units.get(1).parameter("qkv.weight").sources().get(0).name())
                .dtype();
    }

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
            Path model = source.modelDirectory();
            DecoderConfig config = ModelConfigReader.read(model);
            List<UnitSpec> units = DecoderUnits.of(config);
            Path target = output.toAbsolutePath().normalize();
            try (TensorSource below = WeightsDirectory.open(model);
                    TensorSource above = WeightsDirectory.openAdapter(adapter)) {
                TensorSource base = ModelSource.asTrainedOn(below, config, lora);
                MergedSource merged = new MergedSource(base, above, lora.scale());
                WeightDtype dtype = weights.dtype(dtypeOf(below, units));
                HuggingFaceExport.write(
                        merged,
                        units,
                        model,
                        source.tokenizer(),
                        source.trainedAs(),
                        target,
                        dtype,
                        weights.maxShardBytes(),
                        probe(config, lora, base, above, dtype));
            }
        }
        System.out.println("written: " + output);
        return 0;
    }
}
