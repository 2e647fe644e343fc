package org.shardloom.deploy.doctor;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import java.util.function.IntSupplier;
import java.util.stream.Collectors;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.plan.Advice;
import org.shardloom.worker.plan.Gpus;
import org.shardloom.worker.plan.HostAdvice;
import org.shardloom.worker.plan.HostFit;
import org.shardloom.worker.plan.JobPlan;
import org.shardloom.worker.plan.Planner;

/**
 * What a job needs, by the plan. First for samples of data.max_length; only where that does not fit are the samples read, for they may
 * be shorter.
 */
public final class JobNeeds {
    private final JobConfig job;
    private final DecoderConfig model;
    private final Function<List<String>, Optional<JobConfig>> jobs;
    private final IntSupplier longest;
    private OptionalInt measured = OptionalInt.empty();
    private Optional<JobPlan> last = Optional.empty();
    private Optional<JobPlan> onGpus = Optional.empty();

    /**
     * Of a job.
     *
     * @param jobs reads it with more overrides; nothing where these do not go together or are not available
     * @param longest reads the samples: tokens of the longest
     */
    public JobNeeds(
            JobConfig job, DecoderConfig model, Function<List<String>, Optional<JobConfig>> jobs, IntSupplier longest) {
        this.job = job;
        this.model = model;
        this.jobs = jobs;
        this.longest = longest;
    }

    public JobConfig job() {
        return job;
    }

    /**
     * Plans once.
     *
     * @throws org.shardloom.worker.tuning.TuningException when the method does not go with the model
     */
    public void requirePlannable() {
        onProcessors(Long.MAX_VALUE);
    }

    /** Whatever the device: parameters, and sizes on disk. */
    JobPlan plan() {
        return last.orElseGet(() -> onProcessors(Long.MAX_VALUE).plan());
    }

    /** Workers on processors of one host; where they need more than what there is, with the samples' own length. */
    HostFit onProcessors(long available) {
        HostFit fit = HostFit.ofProcessors(job, model, length());
        if (fit.bytes() > available && measure()) {
            fit = HostFit.ofProcessors(job, model, length());
        }
        last = Optional.of(fit.plan());
        return fit;
    }

    /** Workers on GPUs; where they need more than what there is, with the samples' own length. */
    JobPlan onGpus(long bytesOfEach) {
        if (onGpus.isEmpty()) {
            onGpus = Optional.of(Planner.plan(job, model, length()));
        }
        JobPlan plan = onGpus.get();
        if (plan.devicePeakBytes() > bytesOfEach && measure()) {
            plan = Planner.plan(job, model, length());
            onGpus = Optional.of(plan);
        }
        last = Optional.of(plan);
        return plan;
    }

    private int length() {
        return measured.orElse(job.data().maxLength());
    }

    /** Whether the samples have now been read and are shorter. */
    private boolean measure() {
        if (measured.isPresent()) {
            return false;
        }
        measured = OptionalInt.of(
                Math.max(1, Math.min(longest.getAsInt(), job.data().maxLength())));
        return measured.getAsInt() < job.data().maxLength();
    }

    /** What would let the job fit into the host's memory, in words. */
    String changeOnProcessors(long available) {
        return new HostAdvice(jobs, model, length())
                .smallestChange(job, available)
                .map(c -> "it would fit with " + set(c.overrides()) + ": "
                        + Bytes.text(c.fit().bytes()))
                .orElse("no recomputation, micro-batch, stage or number of workers lets it fit; a method that trains "
                        + "less, a shorter data.max_length or more hosts (--hosts) may");
    }

    /**
     * What would let the job fit into GPUs of that memory, in words.
     *
     * @param most GPUs that there are
     */
    String changeOnGpus(long bytesOfEach, int most) {
        return new Advice(
                        more -> jobs.apply(more).filter(changed -> changed.workers() <= most),
                        model,
                        Gpus.of(job.workers(), bytesOfEach),
                        OptionalInt.of(length()))
                .smallestChange(job)
                .map(c -> "it would fit with " + set(c.overrides()) + ": "
                        + Bytes.text(c.fit().plan().devicePeakBytes()) + " each")
                .orElse("no micro-batch, recomputation, stage or number of workers lets it fit; a method that "
                        + "trains less, a shorter data.max_length or more GPUs may");
    }

    private static String set(List<String> overrides) {
        return overrides.stream().map(o -> "--set " + o).collect(Collectors.joining(" "));
    }
}
