package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntSupplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.shardloom.deploy.doctor.Doctor;
import org.shardloom.deploy.doctor.Finding;
import org.shardloom.deploy.doctor.JobNeeds;
import org.shardloom.deploy.launch.Run;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.JobPreflight;
import org.shardloom.protocol.config.JobProblem;
import org.shardloom.worker.loop.TrainingData;
import org.shardloom.worker.model.DecoderConfig;
import org.slf4j.LoggerFactory;

/** What a job file needs of this host. */
final class Needs {
    private Needs() {}

    /**
     * Of the job that a file and overrides make.
     *
     * @param longest reads the samples, where their length matters: tokens of the longest
     */
    static JobNeeds of(Path file, List<String> overrides, JobFile read, DecoderConfig model, IntSupplier longest) {
        Set<String> known = messages(read);
        return new JobNeeds(read.config(), model, more -> changed(file, overrides, more, known), longest);
    }

    /** Nothing where the settings do not go together, or this version refuses them. */
    private static Optional<JobConfig> changed(
            Path file, List<String> overrides, List<String> more, Set<String> known) {
        try {
            JobFile changed = JobFile.load(
                    file, Stream.concat(overrides.stream(), more.stream()).toList());
            return known.containsAll(messages(changed)) ? Optional.of(changed.config()) : Optional.empty();
        } catch (JobConfigException e) {
            return Optional.empty();
        }
    }

    private static Set<String> messages(JobFile job) {
        return JobPreflight.check(job).stream().map(JobProblem::message).collect(Collectors.toCollection(HashSet::new));
    }

    /**
     * Refuses a job that cannot run on this host.
     *
     * @param severalHosts whether workers are started on others
     * @return what the user should know of one that can
     * @throws Run.RunException with the first thing that is in the way, and what would help
     */
    static List<String> requireFit(
            Path file, List<String> overrides, JobFile read, DecoderConfig model, boolean severalHosts)
            throws Run.RunException {
        JobNeeds needs = of(file, overrides, read, model, () -> TrainingData.load(read.config(), model)
                .longest());
        long began = System.nanoTime();
        List<Finding> findings = Doctor.beforeStart(needs, severalHosts);
        LoggerFactory.getLogger(Needs.class).info("planned in {} ms", (System.nanoTime() - began) / 1_000_000);
        for (Finding finding : findings) {
            if (finding.status() == Finding.Status.ERROR) {
                throw new Run.RunException(finding.line());
            }
        }
        return findings.stream().map(Finding::line).toList();
    }
}
