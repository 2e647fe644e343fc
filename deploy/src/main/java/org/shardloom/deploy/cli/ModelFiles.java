package org.shardloom.deploy.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.ModelConfigSource;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
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
        List<UnitSpec> units = DecoderUnits.of(model);
        if (checkpoint.isPresent()) {
            try (Checkpoint opened = Checkpoint.open(checkpoint.get(), false)) {
                opened.requireUnits(ZeroEngine.planOf(units, 1).units());
            }
        } else if (job.model().init() == ModelConfigSource.Init.PRETRAINED) {
            try (TensorSource source = WeightsDirectory.open(job.model().path())) {
                MasterWeights.check(units, source, job.model().path().toString());
            }
        }
        return model;
    }
}
