package org.shardloom.worker.zero;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/**
 * The weights that an engine starts with: the model's own from its files or at random, those that a tuning method adds at random or from
 * an earlier adapter. Each rank reads its own slices only.
 */
public final class StartWeights {
    private final ModelConfigSource source;
    private final long seed;
    private final ZeroEngine engine;
    private final int[] trainedIndices;

    private StartWeights(ModelConfigSource source, long seed, ZeroEngine engine) {
        this.source = source;
        this.seed = seed;
        this.engine = engine;
        this.trainedIndices = engine.model().trainedIndices();
    }

    /** Fills everything: master weights of what is trained, and what is frozen. */
    public static void fillAll(ModelConfigSource source, long seed, ZeroEngine engine) throws IOException {
        StartWeights weights = new StartWeights(source, seed, engine);
        weights.fillModel(true);
        weights.fillAdded();
    }

    /** Fills what is frozen only: the rest comes from a checkpoint or from another rank. */
    public static void fillFrozen(ModelConfigSource source, long seed, ZeroEngine engine) throws IOException {
        StartWeights weights = new StartWeights(source, seed, engine);
        if (!weights.indices(true, false).isEmpty()) { // a model with quantised matrices has an embedding, too
            weights.fillModel(false);
        }
    }

    private void fillModel(boolean trainedToo) throws IOException {
        List<Integer> own = indices(true, trainedToo);
        if (source.init() == ModelConfigSource.Init.RANDOM) {
            randomize(own);
            engine.quantize(new RandomWeights(engine.model(), seed));
            return;
        }
        try (TensorSource files = WeightsDirectory.open(source.path())) {
            MasterWeights.check(
                    DecoderUnits.of(engine.model().config()),
                    files,
                    source.path().toString());
            load(own, files);
            engine.quantize(files);
        }
    }

    private void fillAdded() throws IOException {
        List<Integer> added = indices(false, true);
        if (source.adapter().isEmpty() || added.isEmpty()) {
            randomize(added);
            return;
        }
        Path directory = source.adapter().get();
        try (TensorSource files = WeightsDirectory.openAdapter(directory)) {
            MasterWeights.check(units(added), files, directory.toString());
            load(added, files);
        }
    }

    /** Units of the model itself, or of those that the method adds. */
    private List<Integer> indices(boolean model, boolean trainedToo) {
        List<UnitSpec> units = engine.model().units();
        return IntStream.range(0, units.size())
                .filter(u -> units.get(u).added() != model)
                .filter(u -> trainedToo || !units.get(u).trained())
                .filter(u -> units.get(u).quantization() == Quantization.NONE)
                .boxed()
                .toList();
    }

    private List<UnitSpec> units(List<Integer> indices) {
        return indices.stream().map(engine.model().units()::get).toList();
    }

    private void randomize(List<Integer> indices) {
        MasterWeights.randomize(
                units(indices),
                ZeroEngine.planOf(units(indices), engine.group().size()),
                engine.group().rank(),
                seed,
                engine.model().config().layers(),
                slices(indices));
    }

    private void load(List<Integer> indices, TensorSource files) throws IOException {
        MasterWeights.load(
                units(indices),
                ZeroEngine.planOf(units(indices), engine.group().size()),
                engine.group().rank(),
                files,
                slices(indices));
    }

    private MasterWeights.Slices slices(List<Integer> indices) {
        return new MasterWeights.Slices() {
            @Override
            public Tensor of(int i) {
                int unit = indices.get(i);
                return trainedIndices[unit] >= 0
                        ? engine.optimizer().master(trainedIndices[unit])
                        : engine.parameterSlice(unit);
            }

            @Override
            public Device device(int i) {
                return trainedIndices[indices.get(i)] >= 0 ? engine.optimizer().device() : engine.parameterDevice();
            }
        };
    }
}
