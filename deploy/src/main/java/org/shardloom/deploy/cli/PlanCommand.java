package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigException;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.plan.Advice;
import org.shardloom.worker.plan.Fit;
import org.shardloom.worker.plan.Gpus;
import org.shardloom.worker.tuning.TuningException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code shardloom plan}. */
@Command(
        name = "plan",
        description = {
            "Says what a job needs of GPUs, hosts and disks, and whether it fits: the engine runs two steps on paper, "
                    + "with samples of data.max_length tokens of which all are learned.",
            "Of the model only config.json is read; neither weights nor data need be there."
        },
        exitCodeListHeading = "Exit status:%n",
        exitCodeList = {"0:the job fits", "1:it does not fit", "2:the job file or an option is wrong"},
        mixinStandardHelpOptions = true)
final class PlanCommand implements Callable<Integer> {
    private static final int SHOWN = 5;

    @Option(names = "--config", paramLabel = "FILE", required = true, description = "The job file.")
    private Path config;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = "Overrides a key; may be repeated.")
    private List<String> overrides = new ArrayList<>();

    @Option(
            names = "--gpus",
            paramLabel = "NxSIZE|NxCARD",
            defaultValue = "24GiB",
            description = "GPUs, one for each worker: 4x24GiB, 8xa100-80gb; without a number as many as the job has "
                    + "workers. Default: ${DEFAULT-VALUE}.")
    private String gpus;

    @Option(names = "--json", description = "Prints one JSON object.")
    private boolean json;

    @Option(
            names = "--suggest",
            description = "Searches micro-batch, recomputation, stage and offload for the fastest that fits.")
    private boolean suggest;

    @Override
    public Integer call() throws Exception {
        Gpus cards;
        try {
            cards = Gpus.parse(gpus);
        } catch (IllegalArgumentException e) {
            throw new Failures.UsageException("--gpus: " + e.getMessage());
        }
        List<String> all = new ArrayList<>(overrides);
        if (cards.count() > 0) {
            all.add("workers=" + cards.count());
        }
        JobConfig job = JobFile.load(config, all).config();
        DecoderConfig model;
        Fit fit;
        try {
            model = ModelConfigReader.read(job.model().path());
            fit = Fit.of(job, model, cards);
        } catch (TuningException | ModelConfigException e) {
            throw new Failures.UsageException(e.getMessage());
        }
        Advice advice = new Advice(more -> read(all, more), model, cards);
        Optional<Advice.Choice> change = fit.fits() ? Optional.empty() : advice.smallestChange(job);
        List<Advice.Choice> choices =
                suggest ? advice.fastest(job).stream().limit(SHOWN).toList() : List.of();
        if (json) {
            System.out.println(PlanJson.of(fit, change, suggest ? choices : null));
        } else {
            PlanText.lines(fit).forEach(System.out::println);
            if (!fit.fits()) {
                System.out.println(PlanText.change(change));
            }
            if (suggest) {
                PlanText.choices(choices).forEach(System.out::println);
            }
        }
        return fit.fits() ? 0 : 1;
    }

    /** Nothing where the settings do not go together. */
    private Optional<JobConfig> read(List<String> given, List<String> more) {
        try {
            return Optional.of(JobFile.load(
                            config, Stream.concat(given.stream(), more.stream()).toList())
                    .config());
        } catch (JobConfigException e) {
            return Optional.empty();
        }
    }
}
