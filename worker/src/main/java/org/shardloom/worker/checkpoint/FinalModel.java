package org.shardloom.worker.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.Rotary;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.BaseSamples;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.weights.WeightsException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a run leaves behind: a Hugging Face directory where it trained parameters of the model, the adapter or prefix alone where it added
 * one. Of a projected prefix it is what the projection comes to; its maps stay in the checkpoints.
 */
public final class FinalModel {
    private static final long MARGIN = 1L << 20;
    private static final Logger LOG = LoggerFactory.getLogger(FinalModel.class);

    private FinalModel() {}

    /**
     * Turns a checkpoint of the job into it. The directory is whole or absent.
     *
     * @param dtype of a model's weights; adapters and prefixes are fp32
     * @param maxShardBytes most bytes of tensors in a file of a model
     */
    public static void write(Checkpoint checkpoint, JobConfig job, Path target, WeightDtype dtype, long maxShardBytes)
            throws IOException {
        Path modelDirectory = job.model().path();
        DecoderConfig config = ModelConfigReader.read(modelDirectory);
        TuningMethod method = job.method().tuning();
        TunedModel tuned = Tuning.of(config, method);
        Optional<TrainedAs> trainedAs = TrainedAs.of(job);
        TensorSource trained = new CheckpointTensors(checkpoint, tuned.trained());
        if (tuned.trained().stream().anyMatch(UnitSpec::added)) {
            boolean projected = method instanceof TuningMethod.PTuningV2 prefix && prefix.projection();
            TensorSource added = projected ? ProjectedPrefix.of(trained) : trained;
            TuningMethod written = projected ? ((TuningMethod.PTuningV2) method).projected() : method;
            long bytes = added.tensors().values().stream()
                    .mapToLong(TensorInfo::byteCount)
                    .sum();
            WholeDirectory.write(target, bytes + MARGIN, "the adapter", directory -> {
                AdapterFiles.write(directory, written, modelDirectory, added);
                writeSamples(config, modelDirectory, directory);
                if (trainedAs.isPresent()) {
                    trainedAs.get().write(directory);
                }
            });
            return;
        }
        List<UnitSpec> units = DecoderUnits.of(config);
        try (TensorSource weights = withFrequencies(config, over(modelDirectory, tuned, trained))) {
            HuggingFaceExport.write(
                    weights, units, modelDirectory, tokenizerDirectory(job), trainedAs, target, dtype, maxShardBytes);
        }
    }

    /** What was learned is not lost with the model that it was learned on. */
    private static void writeSamples(DecoderConfig config, Path modelDirectory, Path directory) throws IOException {
        BaseSamples samples;
        try (TensorSource base = WeightsDirectory.open(modelDirectory)) {
            samples = BaseSamples.of(modelDirectory, DecoderUnits.of(config), base);
        } catch (WeightsException e) {
            LOG.warn("what the adapter was trained on will not be known: {}", e.getMessage());
            return;
        }
        samples.write(directory);
    }

    private static TensorSource over(Path modelDirectory, TunedModel tuned, TensorSource trained) throws IOException {
        boolean all = tuned.units().stream().allMatch(UnitSpec::trained);
        return all ? trained : new OverlaidSource(WeightsDirectory.open(modelDirectory), trained);
    }

    /** The original code of the ChatGLM family keeps its rotary frequencies in the checkpoint. */
    private static TensorSource withFrequencies(DecoderConfig config, TensorSource weights) {
        if (config.names() == DecoderConfig.Names.LLAMA) {
            return weights;
        }
        float[] frequencies = Rotary.frequencies(config);
        if (config.names() == DecoderConfig.Names.CHATGLM) {
            return with(weights, "transformer.rotary_pos_emb.inv_freq", frequencies);
        }
        TensorSource all = weights;
        for (int layer = 0; layer < config.layers(); layer++) {
            all = with(all, "transformer.layers." + layer + ".attention.rotary_emb.inv_freq", frequencies);
        }
        return all;
    }

    private static TensorSource with(TensorSource weights, String name, float[] values) {
        return new OverlaidSource(weights, new ArraySource(name, values, values.length));
    }

    private static Path tokenizerDirectory(JobConfig job) {
        Path tokenizer = job.tokenizer();
        return Files.isDirectory(tokenizer)
                ? tokenizer
                : tokenizer.toAbsolutePath().getParent();
    }
}
