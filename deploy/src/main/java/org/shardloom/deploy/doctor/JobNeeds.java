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
 * What a job needs, by the plan: at most, with samples of data.max_length, and at least. A job that needs more than there is at most, but
 * not at least, may run; only for such jobs are the samples read, for they may be shorter.
 */
public final class JobNeeds {
    private final JobConfig job;
    private final DecoderConfig model;
    private final Function<List<String>, Optional<JobConfig>> jobs;
    private final IntSupplier longest;
    private OptionalInt measured = OptionalInt.empty();
    private Optional<HostFit> onProcessors = Optional.empty();
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
        atMostOnProcessors();
    }

    /** Whatever the device: parameters, and sizes on disk. */
    JobPlan plan() {
        return onGpus.orElseGet(() -> atMostOnProcessors().plan());
    }

    /** Workers on processors of one host, where all samples are as long as they may be. */
    HostFit atMostOnProcessors() {
        if (onProcessors.isEmpty()) {
            onProcessors = Optional.of(HostFit.ofProcessors(job, model, length()));
        }
        return onProcessors.get();
    }

    /** Workers on GPUs, where all samples are as long as they may be. */
    JobPlan atMostOnGpus() {
        if (onGpus.isEmpty()) {
            onGpus = Optional.of(Planner.plan(job, model, length()));
        }
        return onGpus.get();
    }

    /** What the longest sample needs, whatever other samples it meets in a micro-batch. Reads the samples. */
    HostFit atLeastOnProcessors() {
        return HostFit.atLeastOfProcessors(job, model, measured());
    }

    /** Likewise. */
    JobPlan atLeastOnGpus() {
        return Planner.planAtLeast(job, model, measured());
    }

    private int length() {
        return measured.orElse(job.data().maxLength());
    }

    private int measured() {
        if (measured.isEmpty()) {
            measured = OptionalInt.of(Math.max(1, Math.min(longest.getAsInt(), length())));
        }
        return measured.getAsInt();
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
                        most,
                        OptionalInt.of(length()))
                .smallestChange(job)
                .map(c -> "it would fit with " + set(c.overrides()) + ": "
                        + Bytes.text(c.fit().plan().devicePeakBytes()) + " each")
                .orElse("no micro-batch, recomputation, stage or number of workers lets it fit; a method that "
                        + "trains less, a shorter data.max_length or more GPUs may");
    }

    /**
     * What would let a job on GPUs fit into the host's memory, in words.
     *
     * @param bytesOfEach memory of the GPUs
     */
    String changeOnHostOfGpus(long available, long bytesOfEach) {
        return new Advice(jobs, model, Gpus.of(job.workers(), bytesOfEach), job.workers(), OptionalInt.of(length()))
                .lessOnHost(job, available)
                .map(c -> "it would fit with " + set(c.overrides()) + ": "
                        + Bytes.text(
                                HostFit.ofGpus(c.fit().job(), c.fit().plan()).bytes())
                        + " of host memory, and "
                        + Bytes.text(c.fit().plan().devicePeakBytes()) + " of each GPU")
                .orElse("train less of the model (method), or use more hosts (--hosts)");
    }

    private static String set(List<String> overrides) {
        return overrides.stream().map(o -> "--set " + o).collect(Collectors.joining(" "));
    }
}
