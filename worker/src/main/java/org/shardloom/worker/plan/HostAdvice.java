package org.shardloom.worker.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.Precision;
import org.shardloom.worker.model.DecoderConfig;

/**
 * Searches a job's settings for those with which its workers fit on the processors of one host. There more workers need more memory, not
 * less.
 *
 * @param jobs reads the job with more overrides; nothing where these do not go together
 * @param length tokens of the longest sample
 */
public record HostAdvice(Function<List<String>, Optional<JobConfig>> jobs, DecoderConfig model, int length) {
    /**
     * Settings and what comes of them.
     *
     * @param overrides key=value, as {@code --set} takes them
     */
    public record Choice(List<String> overrides, HostFit fit) {}

    /** The change that costs least and lets the job fit into so many bytes: one setting where one suffices, else one after the other. */
    public Optional<Choice> smallestChange(JobConfig job, long available) {
        List<List<String>> steps = Advice.fewerAnswers(job);
        if (!job.gradientCheckpointing()) {
            steps.add(List.of("gradient_checkpointing=true"));
        }
        for (int micro = job.train().microBatchSize() / 2; micro >= 1; micro /= 2) {
            steps.add(List.of("train.micro_batch_size=" + micro));
        }
        if (job.zero().stage() == 2 && job.workers() > 1) {
            steps.add(List.of("zero.stage=3"));
        }
        for (int workers = job.workers() / 2; workers >= 1; workers /= 2) {
            steps.add(List.of("workers=" + workers));
        }
        if (job.precision() == Precision.FP32) {
            steps.add(List.of("precision=bf16"));
        }
        return Advice.firstOf(steps, new ArrayList<>(), overrides -> jobs.apply(overrides)
                .map(changed -> new Choice(overrides, HostFit.ofProcessors(changed, model, length)))
                .filter(choice -> choice.fit.bytes() <= available));
    }
}
