package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.JobSchema;
import org.shardloom.worker.loop.TrainingData;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.UnitSpec;
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

    @Override
    public Integer call() throws Exception {
        if (keys) {
            System.out.println(JobSchema.describe());
            return 0;
        }
        if (config == null) {
            throw new Failures.UsageException("name a job file: shardloom validate --config FILE");
        }
        JobConfig job = StartCommand.checked(JobFile.load(config, overrides));
        DecoderConfig model = ModelFiles.check(job, Optional.empty());
        List<UnitSpec> units = DecoderUnits.of(model);
        TrainingData data = TrainingData.load(job, model);
        long parameters = units.stream().mapToLong(UnitSpec::parameterCount).sum();
        System.out.printf(
                "model: %,d parameters, %d layers, hidden size %d, vocabulary %d%n",
                parameters, model.layers(), model.hidden(), model.vocabulary());
        System.out.println("data: " + data.summary());
        System.out.printf(
                "steps: %,d of %d samples%n", data.totalSteps(), job.train().globalBatchSize());
        System.out.println("the job is valid");
        return 0;
    }
}
