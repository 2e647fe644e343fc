package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.JobSchema;
import org.shardloom.worker.data.Sample;
import org.shardloom.worker.data.SampleView;
import org.shardloom.worker.loop.TemplateFamily;
import org.shardloom.worker.loop.TrainingData;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tuning.TrainedSummary;
import org.shardloom.worker.tuning.Tuning;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code shardloom validate}. */
@Command(
        name = "validate",
        description = "Checks a job file, its model's files and its data, and says what would be trained on what.",
        mixinStandardHelpOptions = true)
final class ValidateCommand implements Callable<Integer> {
    @Option(names = "--config", paramLabel = "FILE", description = "The job file.")
    private Path config;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = "Overrides a key; may be repeated.")
    private List<String> overrides = new ArrayList<>();

    @Option(names = "--keys", description = "Lists every key with its type and default, and ends.")
    private boolean keys;

    @Option(
            names = "--data",
            arity = "0..1",
            fallbackValue = "3",
            defaultValue = "0",
            paramLabel = "N",
            description = "Shows the first N samples of each training file as tokens, and which of them are learned;"
                    + " without a number: 3.")
    private int samples;

    @Override
    public Integer call() throws Exception {
        if (keys) {
            System.out.println(JobSchema.describe());
            return 0;
        }
        if (config == null) {
            throw new Failures.UsageException("name a job file: shardloom validate --config FILE");
        }
        if (samples < 0) {
            throw new Failures.UsageException("--data takes a number of samples, not " + samples);
        }
        JobConfig job = StartCommand.checked(JobFile.load(config, overrides));
        DecoderConfig model = ModelFiles.check(job, Optional.empty());
        List<UnitSpec> units = DecoderUnits.of(model);
        TrainingData data = TrainingData.load(job, model);
        Optional<String> evaluation = TrainingData.evaluationSummary(job, model);
        long parameters = units.stream().mapToLong(UnitSpec::parameterCount).sum();
        System.out.printf(
                "model: %,d parameters, %d layers, hidden size %d, vocabulary %d%n",
                parameters, model.layers(), model.hidden(), model.vocabulary());
        TrainedSummary.lines(Tuning.of(model, job.method().tuning())).forEach(System.out::println);
        if (job.model().adapter().isPresent()) {
            System.out.println(Adaptation.describeStart(job.model().adapter().get()));
        }
        System.out.println("data: " + data.summary());
        TemplateFamily.describe(job).ifPresent(System.out::println);
        evaluation.ifPresent(System.out::println);
        System.out.printf(
                "steps: %,d of %d samples%n", data.totalSteps(), job.train().globalBatchSize());
        job.train().schedule().warning(data.totalSteps()).ifPresent(text -> System.out.println("warning: " + text));
        showSamples(job, model);
        System.out.println("the job is valid");
        return 0;
    }

    /** Of each training file, so that a mix can be looked at in all its parts. */
    private void showSamples(JobConfig job, DecoderConfig model) {
        boolean text = job.data().format() != DataConfig.Format.PRETOKENIZED;
        if (samples == 0) {
            return;
        }
        try (Tokenizer tokenizer = text ? TrainingData.openTokenizer(job) : null) {
            List<Path> files = job.data().train();
            List<Double> weights = job.data().weights();
            List<List<Sample>> shown = TrainingData.first(job, model, samples);
            for (int f = 0; f < files.size(); f++) {
                if (files.size() > 1) {
                    System.out.println(files.get(f) + (weights.isEmpty() ? ":" : " (weight " + weights.get(f) + "):"));
                }
                showSamples(shown.get(f), tokenizer);
            }
        }
    }

    private static void showSamples(List<Sample> samples, Tokenizer tokenizer) {
        for (int i = 0; i < samples.size(); i++) {
            Sample sample = samples.get(i);
            System.out.printf(
                    "sample %d: %,d tokens, %,d learned%s%n",
                    i + 1, sample.length(), sample.targetTokens(), sample.truncated() ? ", cut to fit" : "");
            SampleView.lines(sample, tokenizer).forEach(System.out::println);
        }
    }
}
