package org.shardloom.deploy.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.shardloom.deploy.doctor.Doctor;
import org.shardloom.deploy.doctor.Finding;
import org.shardloom.deploy.doctor.Finding.Status;
import org.shardloom.deploy.doctor.JobNeeds;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.worker.loop.TrainingData;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigException;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.tuning.TuningException;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code shardloom doctor}. */
@Command(
        name = "doctor",
        description = {
            "Looks whether this host can train: driver, GPUs and their state, NCCL, limits, memory, disk; with a job file, whether it can run that job.",
            "Starts and changes nothing. What is wrong comes with what it means and what to do."
        },
        exitCodeListHeading = "Exit status:%n",
        exitCodeList = {
            "0:nothing is in the way, though there may be warnings",
            "1:something is",
            "2:the job file or an option is wrong"
        },
        footer = {
            "",
            "Examples:",
            "  deploy/shardloom doctor",
            "  deploy/shardloom doctor --config job.yaml --device cuda --json"
        },
        mixinStandardHelpOptions = true)
final class DoctorCommand implements Callable<Integer> {
    @Option(names = "--config", paramLabel = "FILE", description = "The job file.")
    private Path config;

    @Option(names = "--set", paramLabel = "KEY=VALUE", description = "Overrides a key; may be repeated.")
    private List<String> overrides = new ArrayList<>();

    @Option(names = "--workers", paramLabel = "N", description = "Number of workers; overrides the job file.")
    private Integer workers;

    @Option(
            names = "--device",
            paramLabel = "cpu|cuda",
            description = "What workers are to compute on; overrides the job file.")
    private Device device;

    @Option(names = "--json", description = "Prints one JSON object.")
    private boolean json;

    /** As users write it. */
    enum Device {
        CPU,
        CUDA
    }

    @Override
    public Integer call() throws Exception {
        if (config == null && !overrides.isEmpty()) {
            throw new Failures.UsageException("--set changes a job file; add --config FILE");
        }
        if (workers != null && workers < 1) {
            throw new Failures.UsageException("--workers takes at least 1, found " + workers);
        }
        Optional<JobDevice> settled = config == null ? Optional.empty() : Optional.of(settled());
        Optional<JobNeeds> needs = settled.map(this::needs);
        boolean gpus = needs.map(n -> Doctor.wantsGpus(n.job())).orElse(device == Device.CUDA);
        int count = needs.map(n -> n.job().workers()).orElse(workers == null ? 0 : workers);
        List<Finding> findings = new ArrayList<>();
        settled.flatMap(JobDevice::why).ifPresent(why -> findings.add(Finding.ok("device", "auto: " + why)));
        findings.addAll(Doctor.examine(needs, gpus, count));
        boolean healthy = findings.stream().noneMatch(f -> f.status() == Status.ERROR);
        if (json) {
            System.out.println(json(findings, healthy));
        } else {
            findings.forEach(f -> System.out.println(text(f)));
            long warnings =
                    findings.stream().filter(f -> f.status() == Status.WARNING).count();
            System.out.println((healthy ? "nothing is in the way" : "something is in the way: see the errors above")
                    + (warnings == 0 ? "" : "; " + warnings + (warnings == 1 ? " warning" : " warnings")));
        }
        return healthy ? 0 : 1;
    }

    private JobDevice settled() {
        List<String> all = new ArrayList<>(overrides);
        if (workers != null) {
            all.add("workers=" + workers);
        }
        if (device != null) {
            all.add("device=" + device.name().toLowerCase(Locale.ROOT));
        }
        return JobDevice.settle(config, all);
    }

    private JobNeeds needs(JobDevice settled) {
        JobFile file = settled.file();
        List<String> all = settled.overrides();
        try {
            DecoderConfig model = ModelConfigReader.read(file.config().model().path());
            JobNeeds needs = Needs.of(config, all, file, model, () -> longest(all, file, model));
            needs.requirePlannable();
            return needs;
        } catch (TuningException | ModelConfigException e) {
            throw new Failures.UsageException(e.getMessage());
        }
    }

    /** The job's limit where its samples cannot be read: they need not be there yet. What reading leaves is not left in output_dir. */
    private int longest(List<String> all, JobFile file, DecoderConfig model) {
        try {
            Path scratch = Files.createTempDirectory("shardloom-doctor");
            try {
                List<String> aside = new ArrayList<>(all);
                aside.add("output_dir=" + scratch);
                return TrainingData.load(JobFile.load(config, aside).config(), model)
                        .longest();
            } finally {
                WholeDirectory.delete(scratch);
            }
        } catch (RuntimeException | IOException e) {
            LoggerFactory.getLogger(DoctorCommand.class).info("samples are taken to be as long as they may be", e);
            return file.config().data().maxLength();
        }
    }

    private static String text(Finding finding) {
        String head = String.format(
                Locale.ROOT, "%-8s%-16s", finding.status().name().toLowerCase(Locale.ROOT), finding.check());
        return head
                + finding.found()
                + (finding.advice().isEmpty() ? "" : "\n" + " ".repeat(24) + "-> " + finding.advice());
    }

    private static String json(List<Finding> findings, boolean healthy) throws JsonProcessingException {
        List<Map<String, Object>> checks = new ArrayList<>();
        for (Finding finding : findings) {
            Map<String, Object> one = new LinkedHashMap<>();
            one.put("check", finding.check());
            one.put("status", finding.status().name().toLowerCase(Locale.ROOT));
            one.put("found", finding.found());
            if (!finding.advice().isEmpty()) {
                one.put("advice", finding.advice());
            }
            checks.add(one);
        }
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("healthy", healthy);
        all.put("checks", checks);
        return new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(all);
    }
}
