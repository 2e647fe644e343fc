package org.shardloom.worker.loop;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.TrainConfig;
import org.shardloom.protocol.plan.StepShares;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.DataException;
import org.shardloom.worker.data.DataFormat;
import org.shardloom.worker.data.DataOptions;
import org.shardloom.worker.data.Dataset;
import org.shardloom.worker.data.DatasetBuilder;
import org.shardloom.worker.data.Sample;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.PrefixPositions;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.zero.StepInput;

/**
 * The samples of a run and which of them a step takes: sample {@code (step - 1) * global_batch_size + i} of the endless sequence of
 * epochs, whatever the number of workers.
 */
public final class TrainingData {
    private final SampleMix samples;
    private final TrainConfig train;

    private TrainingData(SampleMix samples, TrainConfig train) {
        this.samples = samples;
        this.train = train;
    }

    /** Tokenises the job's training files, or reads what an earlier run has cached. */
    public static TrainingData load(JobConfig job, DecoderConfig model) {
        DataConfig data = job.data();
        DataOptions options = options(job, model);
        Path cache = job.outputDir().resolve(".token-cache");
        List<Dataset> datasets = new ArrayList<>();
        try (Tokenizer tokenizer = tokenizer(job)) {
            DatasetBuilder builder = builder(options, tokenizer);
            // Without weights all files are one data set.
            List<List<Path>> parts = data.weights().isEmpty()
                    ? List.of(data.train())
                    : data.train().stream().map(List::of).toList();
            for (List<Path> part : parts) {
                Dataset dataset = builder.withCache(cache).build(part);
                requireSources(dataset, model, part);
                datasets.add(dataset);
            }
        }
        List<Double> weights = data.weights().isEmpty() ? List.of(1.0) : data.weights();
        SampleMix samples = new SampleMix(datasets, weights, job.train().seed(), data.shuffle());
        requireContext(samples.longest(), job, model);
        return new TrainingData(samples, job.train());
    }

    /** The first samples of each training file, in the order of the files; fewer where there are fewer. */
    public static List<List<Sample>> first(JobConfig job, DecoderConfig model, int count) {
        List<List<Sample>> found = new ArrayList<>();
        try (Tokenizer tokenizer = tokenizer(job)) {
            DatasetBuilder builder = builder(options(job, model), tokenizer);
            for (Path file : job.data().train()) {
                found.add(builder.first(file, count));
            }
        }
        return found;
    }

    /** The tokenizer of text; null where the samples are tokens already. */
    private static Tokenizer tokenizer(JobConfig job) {
        return job.data().format() == DataConfig.Format.PRETOKENIZED ? null : openTokenizer(job);
    }

    private static DatasetBuilder builder(DataOptions options, Tokenizer tokenizer) {
        return tokenizer == null
                ? DatasetBuilder.forTokens(options)
                : DatasetBuilder.forText(options, ChatTemplate.of(tokenizer));
    }

    /** With what the method adds to them, samples must fit into the model's context. */
    static void requireContext(int longest, JobConfig job, DecoderConfig model) {
        int most = Tuning.positions(job.method().tuning(), model);
        int added = model.maxPositions() - most;
        if (longest > most) {
            throw new DataException("data.max_length: the longest sample has " + longest + " tokens"
                    + (added > 0 ? ", and the method adds " + added : "") + ", but the model's context has "
                    + model.maxPositions() + " positions; set data.max_length to " + most + " at most");
        }
    }

    /** Templates see to it; what is tokenised already may be of another model. */
    static void requireSources(Dataset dataset, DecoderConfig model, List<Path> files) {
        for (int i = 0; model.markers() != null && i < dataset.size(); i++) {
            int[] ids = dataset.sample(i).inputIds();
            try {
                PrefixPositions.of(ids, new int[] {0, ids.length}, model.markers());
            } catch (IllegalArgumentException e) {
                throw new DataException("sample " + (i + 1) + " of " + files + ": " + e.getMessage());
            }
        }
    }

    /**
     * What the job's evaluations will do, after reading their file; empty where there are none.
     *
     * @throws DataException when the file cannot be used; it names file and line
     */
    public static Optional<String> evaluationSummary(JobConfig job, DecoderConfig model) {
        if (job.evaluation().everySteps() == 0) {
            return Optional.empty();
        }
        try (Evaluation evaluation = new Evaluation(job, model, job.outputDir().resolve(".token-cache"))) {
            return Optional.of(evaluation.summary());
        }
    }

    /** How records become samples. */
    static DataOptions options(JobConfig job, DecoderConfig model) {
        DataConfig data = job.data();
        DataFormat format = DataFormat.of(data.format().name().toLowerCase(Locale.ROOT));
        return new DataOptions(format, data.maxLength(), data.maxSourceLength(), data.truncate(), model.vocabulary());
    }

    /** The job's tokenizer, of the family that the template or the model asks for. */
    public static Tokenizer openTokenizer(JobConfig job) {
        return Tokenizers.open(
                job.tokenizer(),
                TemplateFamily.of(job.data().template(), job.model().path()));
    }

    /** SHA-256, in hexadecimal digits, of the samples and of what comes with them. */
    public String digest(String with) {
        return samples.digest(with);
    }

    public String summary() {
        return samples.summary();
    }

    /** Longest sample. */
    public int longest() {
        return samples.longest();
    }

    /** Optimizer steps of the run. */
    public long totalSteps() {
        if (train.maxSteps() > 0) {
            return train.maxSteps();
        }
        long all = (long) train.epochs() * samples.epochSize();
        return (all + train.globalBatchSize() - 1) / train.globalBatchSize();
    }

    /** Passes over the data done after the step. */
    public double epochAfter(long step) {
        return (double) step * train.globalBatchSize() / samples.epochSize();
    }

    /** A rank's share of the step, counted from 1. */
    public StepInput share(long step, int worldSize, int rank, double learningRate) {
        int perMicroBatch = train.microBatchSize();
        int microBatches = train.globalBatchSize() / perMicroBatch;
        long first = (step - 1) * train.globalBatchSize();
        StepShares shares = new StepShares(microBatches, worldSize, rank);
        List<PackedBatch> batches = new ArrayList<>();
        List<Double> divisors = new ArrayList<>();
        List<Long> dropoutKeys = new ArrayList<>();
        boolean perToken = train.lossReduction() == TrainConfig.LossReduction.TOKEN;
        double stepTargets = perToken ? targets(first, train.globalBatchSize()) : 0;
        for (int m : shares.own()) {
            long from = first + (long) m * perMicroBatch;
            List<int[]> ids = new ArrayList<>();
            List<int[]> labels = new ArrayList<>();
            for (int i = 0; i < perMicroBatch; i++) {
                Sample sample = samples.at(from + i);
                ids.add(sample.inputIds());
                labels.add(sample.labels());
            }
            PackedBatch batch = PackedBatch.of(ids, labels);
            batches.add(batch);
            dropoutKeys.add(dropoutKey(from));
            divisors.add(perToken ? stepTargets : Math.max(1.0, batch.targets().length) * microBatches);
        }
        return new StepInput(batches, divisors, dropoutKeys, shares.rounds(), learningRate);
    }

    /** Never 0, which stands for no dropout. */
    private long dropoutKey(long firstSample) {
        return (train.seed() * 0x9E3779B97F4A7C15L ^ (firstSample + 1) * 0xD1B54A32D192ED03L) | 1;
    }

    private double targets(long first, int count) {
        long sum = 0;
        for (int i = 0; i < count; i++) {
            sum += samples.at(first + i).targetTokens();
        }
        return Math.max(1, sum);
    }
}
