package org.shardloom.worker.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Function;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.zero.Placement;

/**
 * Searches a job's settings for those that fit.
 *
 * <p>It reads jobs with more overrides through a function, which gives nothing where these do not go together.
 */
public final class Advice {
    private static final int MOST_WORKERS = 64;
    /** So many more workers are tried one by one; beyond, each try has a quarter more than the last. */
    private static final int ONE_BY_ONE = 8;

    private static final List<Placement> PLACEMENTS =
            List.of(new Placement(false, false), Placement.OFFLOADED_OPTIMIZER, new Placement(true, true));

    private final Function<List<String>, Optional<JobConfig>> jobs;
    private final DecoderConfig model;
    private final Gpus gpus;
    private final int mostWorkers;
    private final OptionalInt length;

    public Advice(Function<List<String>, Optional<JobConfig>> jobs, DecoderConfig model, Gpus gpus) {
        this(jobs, model, gpus, MOST_WORKERS, OptionalInt.empty());
    }

    /**
     * For GPUs whose number is known, and samples whose length is.
     *
     * @param mostWorkers that there are GPUs for
     * @param length tokens of the longest; without it the job's data.max_length
     */
    public Advice(
            Function<List<String>, Optional<JobConfig>> jobs,
            DecoderConfig model,
            Gpus gpus,
            int mostWorkers,
            OptionalInt length) {
        this.jobs = jobs;
        this.model = model;
        this.gpus = gpus;
        this.mostWorkers = Math.min(mostWorkers, MOST_WORKERS);
        this.length = length;
    }

    /**
     * Settings and what comes of them.
     *
     * @param overrides key=value, as {@code --set} takes them
     */
    public record Choice(List<String> overrides, Fit fit) {}

    /**
     * The change that costs least speed and lets the job fit: one setting where one suffices, else as few as do together, else more workers,
     * as few as do.
     */
    public Optional<Choice> smallestChange(JobConfig job) {
        List<List<String>> steps = fewerAnswers(job);
        if (!job.gradientCheckpointing()) {
            steps.add(List.of("gradient_checkpointing=true"));
        }
        for (int micro = job.train().microBatchSize() / 2; micro >= 1; micro /= 2) {
            steps.add(List.of("train.micro_batch_size=" + micro));
        }
        boolean wholeOnEach = job.zero().stage() == 2;
        if (wholeOnEach && job.workers() > 1) {
            steps.add(List.of("zero.stage=3"));
        }
        List<String> offload = new ArrayList<>();
        if (!job.zero().offloadOptimizer()) {
            offload.add("zero.offload_optimizer=true");
            steps.add(List.copyOf(offload));
        }
        if (!job.zero().offloadParams()) {
            if (wholeOnEach) {
                offload.add("zero.stage=3");
            }
            offload.add("zero.offload_params=true");
            steps.add(offload);
        }
        List<String> together = new ArrayList<>();
        Optional<Choice> fewest = firstOf(steps, together, this::fitting);
        if (fewest.isPresent()) {
            return fewest;
        }
        for (int workers : moreWorkers(job.workers(), mostWorkers)) {
            List<String> alone = List.of("workers=" + workers);
            Optional<Choice> choice = fitting(alone);
            if (choice.isPresent()) {
                return choice;
            }
            List<String> more = new ArrayList<>(together);
            more.addAll(alone);
            choice = fitting(more);
            if (choice.isPresent()) {
                return Optional.of(pruned(choice.get(), more, steps, this::fitting));
            }
        }
        return Optional.empty();
    }

    /** Where the model answers questions: one at a time, which trains as before. */
    static List<List<String>> fewerAnswers(JobConfig job) {
        List<List<String>> steps = new ArrayList<>();
        if (job.evaluation().answers() && job.evaluation().prompts() > 1) {
            steps.add(List.of("evaluation.prompts=1"));
        }
        return steps;
    }

    /** Numbers of workers to try, growing: all of the next few, then fewer and fewer, and the most. */
    static List<Integer> moreWorkers(int workers, int most) {
        List<Integer> all = new ArrayList<>();
        for (int n = workers + 1; n < most; n += n < workers + ONE_BY_ONE ? 1 : Math.max(1, n / 4)) {
            all.add(n);
        }
        if (most > workers) {
            all.add(most);
        }
        return all;
    }

    /** The change that takes least from the host's memory to the GPUs', which they must have room for, and lets the job fit into the host's. */
    public Optional<Choice> lessOnHost(JobConfig job, long available) {
        List<List<String>> steps = new ArrayList<>();
        if (job.zero().offloadParams()) {
            steps.add(List.of("zero.offload_params=false"));
        }
        if (job.zero().offloadOptimizer()) {
            steps.add(List.of("zero.offload_optimizer=false"));
        }
        return firstOf(steps, new ArrayList<>(), overrides -> fitting(overrides)
                .filter(c -> HostFit.ofGpus(c.fit.job(), c.fit.plan()).bytes() <= available));
    }

    /** Settings that fit, the fastest by estimate first; among equals those without offload, then those that need least. */
    public List<Choice> fastest(JobConfig job) {
        List<Choice> fitting = new ArrayList<>();
        for (int micro = 1; micro <= job.train().globalBatchSize(); micro *= 2) {
            for (boolean recompute : new boolean[] {false, true}) {
                for (int stage = 2; stage <= (job.workers() > 1 ? 3 : 2); stage++) {
                    for (Placement placement : PLACEMENTS) {
                        attempt(List.of(
                                        "train.micro_batch_size=" + micro,
                                        "gradient_checkpointing=" + recompute,
                                        "zero.stage=" + (job.workers() > 1 ? stage : 3),
                                        "zero.offload_optimizer=" + placement.optimizerOnHost(),
                                        "zero.offload_params=" + placement.parametersOnHost()))
                                .filter(c -> c.fit.fits())
                                .ifPresent(fitting::add);
                    }
                }
            }
        }
        fitting.sort(Comparator.comparingLong(
                        (Choice c) -> Math.round(c.fit.estimate().seconds() * 100))
                .thenComparing(c -> c.fit.job().zero().offloadParams())
                .thenComparingLong(c -> c.fit.plan().devicePeakBytes()));
        return fitting;
    }

    /**
     * The first of the steps that will do alone, or else as few of them as will do together: one after the other until they do, then
     * without those that the later ones have made needless.
     *
     * @param together gets all of them where even these will not do
     */
    static <T> Optional<T> firstOf(
            List<List<String>> steps, List<String> together, Function<List<String>, Optional<T>> attempt) {
        for (List<String> step : steps) {
            Optional<T> alone = attempt.apply(step);
            if (alone.isPresent()) {
                return alone;
            }
        }
        for (List<String> step : steps) {
            for (String setting : step) {
                together.removeIf(s -> sameKey(s, setting));
                together.add(setting);
            }
            Optional<T> choice = attempt.apply(List.copyOf(together));
            if (choice.isPresent()) {
                return Optional.of(pruned(choice.get(), together, steps, attempt));
            }
        }
        return Optional.empty();
    }

    /**
     * A choice without settings that it does not need: each, the last and costliest first, is left out, or put back to the value of an
     * earlier step, while the others will do.
     *
     * @param settings of the choice
     * @param steps by what they cost
     */
    private static <T> T pruned(
            T choice, List<String> settings, List<List<String>> steps, Function<List<String>, Optional<T>> attempt) {
        T best = choice;
        List<String> kept = new ArrayList<>(settings);
        for (int i = kept.size() - 1; i >= 0; i--) {
            String setting = kept.get(i);
            List<String> less = new ArrayList<>(kept);
            less.remove(i);
            Optional<T> without = attempt.apply(List.copyOf(less));
            if (without.isPresent()) {
                best = without.get();
                kept = less;
                continue;
            }
            List<String> earlier = steps.stream()
                    .flatMap(List::stream)
                    .filter(s -> sameKey(s, setting))
                    .takeWhile(s -> !s.equals(setting))
                    .toList();
            for (String milder : earlier) {
                List<String> other = new ArrayList<>(kept);
                other.set(i, milder);
                Optional<T> enough = attempt.apply(List.copyOf(other));
                if (enough.isPresent()) {
                    best = enough.get();
                    kept = other;
                    break;
                }
            }
        }
        return best;
    }

    private static boolean sameKey(String setting, String other) {
        return setting.startsWith(other.substring(0, other.indexOf('=') + 1));
    }

    private Optional<Choice> fitting(List<String> overrides) {
        return attempt(overrides).filter(c -> c.fit.fits());
    }

    private Optional<Choice> attempt(List<String> overrides) {
        return jobs.apply(overrides)
                .map(job -> new Choice(
                        overrides,
                        Fit.of(job, model, gpus, length.orElse(job.data().maxLength()))));
    }
}
