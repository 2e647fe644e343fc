package org.shardloom.deploy.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.CheckpointException;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.NoDecay;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.BaseSamples;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.ZeroEngine;

/** Finds before any worker starts what their reading would fail on: reads headers and manifests only. */
final class ModelFiles {
    private ModelFiles() {}

    /**
     * Compares the checkpoint, or without one the weights that the job begins with, with the model's configuration.
     *
     * @return the model's configuration
     */
    static DecoderConfig check(JobConfig job, Optional<Path> checkpoint) throws IOException {
        DecoderConfig model = ModelConfigReader.read(job.model().path());
        TunedModel tuned = Tuning.of(model, job.method().tuning());
        if (checkpoint.isEmpty()) {
            requireUsefulPatterns(job, tuned);
        }
        if (checkpoint.isPresent()) {
            try (Checkpoint opened = Checkpoint.open(checkpoint.get(), false)) {
                JobConfig was = JobFile.parse(
                                opened.manifest().getJobYaml(), checkpoint.get() + "/manifest.pb", List.of())
                        .config();
                requireSameMethod(was, checkpoint.get(), job);
                requireSameOrder(was, checkpoint.get(), job);
                opened.requireUnits(ZeroEngine.planOf(tuned.trained(), 1).units());
            }
        } else {
            checkAdapter(job, tuned);
        }
        if (checkpoint.isEmpty() || !tuned.units().stream().allMatch(UnitSpec::trained)) {
            checkWeights(job, model);
        }
        if (checkpoint.isEmpty() && job.model().adapter().isPresent()) {
            checkBase(job.model().adapter().get(), job.model().path());
        }
        return model;
    }

    /** Units of equal size would be taken for each other otherwise. */
    private static void requireSameMethod(JobConfig earlier, Path directory, JobConfig job) throws IOException {
        TuningMethod was = earlier.method().tuning();
        if (!comparable(was).equals(comparable(job.method().tuning()))) {
            throw new CheckpointException(directory + " was trained with method " + was + ", the job has "
                    + job.method().tuning() + "; resume with the same method, or start anew");
        }
    }

    /** A step's samples follow from these: with others, some would be seen twice and some never. */
    private static void requireSameOrder(JobConfig was, Path directory, JobConfig job) throws IOException {
        requireSame(
                "train.global_batch_size",
                was.train().globalBatchSize(),
                job.train().globalBatchSize(),
                directory);
        requireSame("train.seed", was.train().seed(), job.train().seed(), directory);
        requireSame("data.shuffle", was.data().shuffle(), job.data().shuffle(), directory);
        requireSame("data.format", was.data().format(), job.data().format(), directory);
        requireSame("data.truncate", was.data().truncate(), job.data().truncate(), directory);
        requireSame("data.template", was.data().template(), job.data().template(), directory);
        requireSame(
                "data.max_source_length",
                was.data().maxSourceLength(),
                job.data().maxSourceLength(),
                directory);
        requireSame("data.max_length", was.data().maxLength(), job.data().maxLength(), directory);
    }

    private static void requireSame(String key, Object was, Object is, Path directory) throws CheckpointException {
        if (!was.equals(is)) {
            throw new CheckpointException(String.format(
                    Locale.ROOT,
                    "%s was trained with %s %s, the job has %s: a run that goes on takes its samples in the same order; "
                            + "set it back, or start anew from the model that the run has written (model.path)",
                    directory,
                    key,
                    String.valueOf(was).toLowerCase(Locale.ROOT),
                    String.valueOf(is).toLowerCase(Locale.ROOT)));
        }
    }

    /** Frozen parameters count: a pattern that suits full fine-tuning does no harm to an adapter's. */
    private static void requireUsefulPatterns(JobConfig job, TunedModel tuned) {
        List<String> useless = new NoDecay(job.train().optimizer().noDecay()).useless(tuned.units());
        if (!useless.isEmpty()) {
            throw new TuningException("train.optimizer.no_decay: no parameter's name has "
                    + useless.stream().map(p -> "'" + p + "'").collect(Collectors.joining(" or "))
                    + " in it; the names are "
                    + tuned.units().stream()
                            .flatMap(u -> u.parameters().values().stream())
                            .flatMap(p -> p.sources().stream())
                            .map(s -> s.name().replaceFirst("layers\\.\\d+\\.", "layers.N."))
                            .distinct()
                            .collect(Collectors.joining(", ")));
        }
    }

    /** Without what may change from one part of a run to the next. */
    private static TuningMethod comparable(TuningMethod method) {
        return method instanceof TuningMethod.Lora lora
                ? new TuningMethod.Lora(
                        lora.rank(),
                        lora.alpha(),
                        0,
                        lora.targets().stream().sorted().toList(),
                        lora.base())
                : method;
    }

    private static void checkAdapter(JobConfig job, TunedModel tuned) throws IOException {
        if (job.model().adapter().isPresent()) {
            Path adapter = job.model().adapter().get();
            AdapterFiles.requireLike(adapter, job.method().tuning());
            try (TensorSource source = WeightsDirectory.openAdapter(adapter)) {
                ModelSource.requireFits(tuned, source, adapter);
            } catch (TuningException e) {
                throw new TuningException("model.adapter: " + e.getMessage());
            }
        }
    }

    private static void checkBase(Path adapter, Path model) throws IOException {
        try (TensorSource source = WeightsDirectory.open(model)) {
            BaseSamples.requireSame(adapter, source, model);
        } catch (TuningException e) {
            throw new TuningException("model.adapter: " + e.getMessage());
        }
    }

    private static void checkWeights(JobConfig job, DecoderConfig model) throws IOException {
        if (job.model().init() == ModelConfigSource.Init.PRETRAINED) {
            try (TensorSource source = WeightsDirectory.open(job.model().path())) {
                MasterWeights.check(
                        DecoderUnits.of(model), source, job.model().path().toString());
            }
        }
    }
}
