package org.shardloom.protocol.config;

import java.nio.file.Path;

/**
 * One fine-tuning job, complete: every default is filled in and every path is absolute.
 *
 * @param model the model to tune
 * @param tokenizer directory of the tokenizer's files; not read when the data is pretokenized
 * @param data the samples and how they are cut
 * @param method which parameters are tuned
 * @param train the optimizer steps
 * @param precision the type of weights and activations
 * @param zero what is sharded
 * @param gradientCheckpointing whether activations are recomputed in the backward pass
 * @param checkpoint when checkpoints are written and which are kept
 * @param evaluation when and how the model is evaluated
 * @param workers number of workers at the start
 * @param device what workers compute on
 * @param outputDir where the run writes
 * @param cluster how the run's processes find and watch each other
 * @param threadsPerWorker CPU threads of a worker; 0 chooses by the host's cores
 */
public record JobConfig(
        ModelConfigSource model,
        Path tokenizer,
        DataConfig data,
        MethodConfig method,
        TrainConfig train,
        Precision precision,
        ZeroConfig zero,
        boolean gradientCheckpointing,
        CheckpointConfig checkpoint,
        EvaluationConfig evaluation,
        int workers,
        DeviceChoice device,
        Path outputDir,
        ClusterConfig cluster,
        int threadsPerWorker) {

    /** The same training by another number of workers. */
    public JobConfig withWorkers(int other) {
        return new JobConfig(
                model,
                tokenizer,
                data,
                method,
                train,
                precision,
                zero,
                gradientCheckpointing,
                checkpoint,
                evaluation,
                other,
                device,
                outputDir,
                cluster,
                threadsPerWorker);
    }

    /** Renders the canonical job file: every key in a fixed order. It loads back to an equal configuration. */
    public String toYaml() {
        return JobYaml.render(this, key -> true);
    }

    /**
     * Identifies what is being trained: members of a run must agree on it. The number of workers, the threads of each and
     * the coordinator's address are left out, because they may differ between members or change while the run goes on.
     *
     * @return 64 lower-case hexadecimal digits (SHA-256)
     */
    public String fingerprint() {
        return JobYaml.sha256(JobYaml.render(this, key -> !key.memberSpecific()));
    }
}
