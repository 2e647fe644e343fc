package org.shardloom.worker.generate;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.Precision;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.CheckpointTensors;
import org.shardloom.worker.checkpoint.TrainedAs;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.BaseSamples;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.weights.WeightsException;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.Nf4Source;
import org.shardloom.worker.zero.WholeParameters;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * The files of a model that can be run: a Hugging Face directory; an adapter or prefix with its base model; or a checkpoint of a run of any
 * world size, with the model that it began from where parts of that were frozen.
 */
public final class ModelSource implements Closeable {
    /** What is to be closed, the last opened first. */
    private final Deque<Closeable> opened = new ArrayDeque<>();

    private TunedModel model;
    private Path modelDirectory;
    private Path tokenizer;
    private Optional<TrainedAs> trainedAs = Optional.empty();
    private TensorSource weights;
    private Precision precision;

    private ModelSource() {}

    /**
     * Opens a directory.
     *
     * @param base directory of the model that an adapter, or a checkpoint of a partly frozen model, belongs to; null for the one that it
     *     names
     * @throws IllegalArgumentException when a base is named for a whole model
     */
    public static ModelSource of(Path directory, Path base) throws IOException {
        ModelSource source = new ModelSource();
        try {
            if (Files.exists(directory.resolve("manifest.pb"))) {
                source.openCheckpoint(directory, base);
            } else if (AdapterFiles.isAdapter(directory)) {
                source.openAdapter(directory, base);
            } else {
                refuseBase(directory, base);
                source.model = TunedModel.full(ModelConfigReader.read(directory));
                source.weights = source.openModel(directory, source.model.config());
                source.modelDirectory = directory;
                source.tokenizer = directory;
                source.trainedAs = TrainedAs.read(directory);
            }
            return source;
        } catch (IOException | RuntimeException e) {
            source.closeAfter(e);
            throw e;
        }
    }

    private void openAdapter(Path directory, Path base) throws IOException {
        AdapterFiles.Description description = AdapterFiles.read(directory);
        Path under = existing(base != null ? base : description.base(), directory + " is an adapter of the model");
        model = tuned(ModelConfigReader.read(under), description.method(), directory, under);
        TensorSource below = openModel(under, model.config());
        TensorSource adapter = opened(WeightsDirectory.openAdapter(directory));
        requireFits(model, adapter, directory);
        BaseSamples.requireSame(directory, below, under);
        weights = new OverlaidSource(below, adapter);
        modelDirectory = under;
        trainedAs = TrainedAs.read(directory);
        tokenizer = trainedAs.map(TrainedAs::tokenizer).filter(Files::exists).orElse(under);
    }

    /**
     * Compares an adapter with the model that it is to be used with.
     *
     * @throws TuningException in one line, with a tensor of each kind that does not fit: where one layer is wrong, all are
     */
    public static void requireFits(TunedModel model, TensorSource adapter, Path directory) {
        List<String> problems = MasterWeights.problems(
                model.units().stream().filter(UnitSpec::added).toList(), adapter);
        if (!problems.isEmpty()) {
            Map<String, String> shown = new LinkedHashMap<>();
            problems.forEach(p -> shown.putIfAbsent(p.substring(0, p.indexOf(':')), p));
            int more = problems.size() - shown.size();
            throw new TuningException(directory + " does not fit the model with this method: "
                    + String.join("; ", shown.values()) + (more > 0 ? "; and " + more + " more" : ""));
        }
    }

    /** The base model with the adapter's modules; where it has no such modules, it is another's. */
    private static TunedModel tuned(DecoderConfig config, TuningMethod method, Path adapter, Path base) {
        try {
            return Tuning.of(config, method);
        } catch (TuningException e) {
            throw new TuningException(adapter + " does not fit the model in " + base + ": "
                    + e.getMessage().replaceFirst("^method\\.\\w+: ", ""));
        }
    }

    private void openCheckpoint(Path directory, Path base) throws IOException {
        Checkpoint checkpoint = opened(Checkpoint.open(directory, false));
        JobConfig job = JobFile.parse(checkpoint.manifest().getJobYaml(), directory + "/manifest.pb", List.of())
                .config();
        DecoderConfig config =
                ModelConfigReader.parse(checkpoint.manifest().getModelConfigJson(), directory.resolve("manifest.pb"));
        model = Tuning.of(config, job.method().tuning());
        checkpoint.requireUnits(ZeroEngine.planOf(model.trained(), 1).units());
        weights = new CheckpointTensors(checkpoint, model.trained());
        modelDirectory = job.model().path();
        tokenizer = job.tokenizer();
        trainedAs = TrainedAs.of(job);
        precision = job.precision();
        if (model.units().stream().allMatch(UnitSpec::trained)) {
            refuseBase(directory, base);
            return;
        }
        modelDirectory = existing(
                base != null ? base : modelDirectory,
                directory + " is a checkpoint of a run that began from the model");
        weights = new OverlaidSource(openModel(modelDirectory, config), weights);
    }

    /** A base model as adapters have seen it in training: with what NF4 left of its matrices, where it was quantised. */
    public static TensorSource asTrainedOn(TensorSource base, DecoderConfig config, TuningMethod method) {
        return method instanceof TuningMethod.Lora lora && lora.base() != TuningMethod.Quantization.NONE
                ? new Nf4Source(base, DecoderUnits.of(config), lora.base() == TuningMethod.Quantization.NF4_DOUBLE)
                : base;
    }

    private static void refuseBase(Path directory, Path base) {
        if (base != null) {
            throw new IllegalArgumentException(directory + " holds a whole model; --base is for adapters and prefixes");
        }
    }

    private static Path existing(Path directory, String what) {
        if (directory == null || !Files.isDirectory(directory)) {
            throw new TuningException(
                    what + " " + directory + ", which is not there; name the model's directory with --base");
        }
        return directory;
    }

    /** A model's own weights, which fit the configuration. */
    private TensorSource openModel(Path directory, DecoderConfig config) throws IOException {
        TensorSource source = opened(WeightsDirectory.open(directory));
        List<UnitSpec> units = DecoderUnits.of(config);
        MasterWeights.check(units, source, directory.toString());
        if (precision == null) {
            precision = precisionOf(source, units);
        }
        return source;
    }

    /** That of the matrices in the files. */
    private static Precision precisionOf(TensorSource source, List<UnitSpec> units) throws WeightsException {
        WeightDtype dtype = source.info(
                        units.get(1).parameter("qkv.weight").sources().get(0).name())
                .dtype();
        if (dtype == WeightDtype.BF16) {
            return Precision.BF16;
        }
        return dtype == WeightDtype.F16 ? Precision.FP16 : Precision.FP32;
    }

    private <T extends Closeable> T opened(T file) {
        opened.push(file);
        return file;
    }

    /** The model as it was trained. */
    public TunedModel model() {
        return model;
    }

    /** That of the model's files, or for a checkpoint that of its training. */
    public Precision precision() {
        return precision;
    }

    /** Where its configuration is. */
    public Path modelDirectory() {
        return modelDirectory;
    }

    /** Where its tokenizer is. */
    public Path tokenizer() {
        return tokenizer;
    }

    /** How it was trained; empty where that is not known, as of a published model. */
    public Optional<TrainedAs> trainedAs() {
        return trainedAs;
    }

    /** Reads all of it. */
    void fill(WholeParameters parameters) throws IOException {
        parameters.load(weights);
    }

    private void closeAfter(Exception failure) {
        try {
            close();
        } catch (IOException e) {
            failure.addSuppressed(e);
        }
    }

    @Override
    public void close() throws IOException {
        IOException failure = null;
        while (!opened.isEmpty()) {
            try {
                opened.pop().close();
            } catch (IOException e) {
                failure = e;
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
