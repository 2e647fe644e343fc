package org.shardloom.worker.loop;

import java.io.IOException;
import java.nio.file.Path;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.CheckpointException;
import org.shardloom.worker.zero.StartWeights;
import org.shardloom.worker.zero.ZeroEngine;

/** The state that a rank begins a generation with, but for what other ranks hand over. */
final class StartingState {
    private final JobConfig job;

    StartingState(JobConfig job) {
        this.job = job;
    }

    /** Reads the model's files, or draws random numbers. */
    TrainingState fresh(ZeroEngine next) throws IOException {
        StartWeights.fillAll(job.model(), job.train().seed(), next);
        return TrainingState.START;
    }

    /**
     * Reads this rank's slices of a checkpoint, whatever number of ranks wrote it.
     *
     * @param contentDigest of what this worker has read: with other samples the run would repeat some and leave out others
     */
    TrainingState restore(ZeroEngine next, Path directory, String contentDigest) throws IOException {
        int own = next.group().rank();
        int ranks = next.group().size();
        try (Checkpoint checkpoint = Checkpoint.open(directory, shard -> shard % ranks == own)) {
            String was = checkpoint.manifest().getContentDigest();
            if (!was.isEmpty() && !was.equals(contentDigest)) {
                throw new CheckpointException(
                        directory + " was trained on other samples, tokenizer or model configuration than"
                                + " the job's files hold now; put the files back as they were, or start anew from the model that the"
                                + " run has written (model.path)");
            }
            checkpoint.load(next.plan(), next.group().rank(), next.optimizer());
            frozen(next);
            return checkpoint.state();
        }
    }

    /** Reads what is frozen, which neither checkpoints nor other ranks hand over. */
    void frozen(ZeroEngine next) throws IOException {
        StartWeights.fillFrozen(job.model(), job.train().seed(), next);
    }
}
