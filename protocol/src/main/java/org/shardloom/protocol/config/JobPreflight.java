package org.shardloom.protocol.config;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/** Asks the disk of this host whether a job can start: its files are there, and its output has a place. Changes nothing. */
public final class JobPreflight {
    private final Function<String, JobPosition> positions;
    private final List<JobProblem> problems = new ArrayList<>();

    private JobPreflight(Function<String, JobPosition> positions) {
        this.positions = positions;
    }

    /** Checks a job that was read from a file; problems name its lines. */
    public static List<JobProblem> check(JobFile job) {
        return new JobPreflight(job::position).run(job.config());
    }

    /** Checks a job whose file is not at hand; problems name {@code sourceName} only. */
    public static List<JobProblem> check(JobConfig config, String sourceName) {
        return new JobPreflight(key -> JobPosition.of(sourceName)).run(config);
    }

    private List<JobProblem> run(JobConfig config) {
        AvailableFeatures.check(config, this::problem);
        checkModel(config.model());
        config.model().adapter().ifPresent(directory -> checkDirectory(JobKeys.MODEL_ADAPTER, directory));
        boolean needsTokenizer = config.data().format() != DataConfig.Format.PRETOKENIZED;
        if (needsTokenizer && !config.tokenizer().equals(config.model().path())) {
            checkDirectory(JobKeys.TOKENIZER, config.tokenizer());
        }
        config.data().train().forEach(file -> checkFile(JobKeys.DATA_TRAIN, file));
        config.data().eval().ifPresent(file -> checkFile(JobKeys.DATA_EVAL, file));
        checkOutput(config.outputDir());
        return List.copyOf(problems);
    }

    private void checkModel(ModelConfigSource model) {
        Path directory = model.path();
        if (!checkDirectory(JobKeys.MODEL_PATH, directory)) {
            return;
        }
        if (!Files.isReadable(directory.resolve("config.json"))) {
            problem(JobKeys.MODEL_PATH, "no readable config.json in " + directory);
        }
        if (model.init() == ModelConfigSource.Init.PRETRAINED && !hasWeights(directory)) {
            String message =
                    "no weights (*.safetensors, *.bin) in " + directory + "; for a new model set model.init: random";
            problem(JobKeys.MODEL_PATH, message);
        }
    }

    private static boolean hasWeights(Path directory) {
        try (DirectoryStream<Path> weights = Files.newDirectoryStream(directory, "*.{safetensors,bin}")) {
            return weights.iterator().hasNext();
        } catch (IOException unreadable) {
            return false;
        }
    }

    private boolean checkDirectory(Key<?> key, Path directory) {
        if (!Files.exists(directory)) {
            problem(key, "there is no directory " + directory);
        } else if (!Files.isDirectory(directory)) {
            problem(key, "not a directory: " + directory);
        } else if (!Files.isReadable(directory)) {
            problem(key, "may not be read by this user: " + directory);
        } else {
            return true;
        }
        return false;
    }

    private void checkFile(Key<?> key, Path file) {
        if (!Files.exists(file)) {
            problem(key, "there is no file " + file);
        } else if (!Files.isRegularFile(file)) {
            problem(key, "not a file: " + file);
        } else if (!Files.isReadable(file)) {
            problem(key, "may not be read by this user: " + file);
        } else if (file.toFile().length() == 0) {
            problem(key, "empty: " + file);
        }
    }

    /** The nearest existing directory above the output must take new files. */
    private void checkOutput(Path directory) {
        Path existing = directory;
        while (existing != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        if (existing == null || !Files.isDirectory(existing)) {
            problem(JobKeys.OUTPUT_DIR, "can't be created, because this is not a directory: " + existing);
        } else if (!Files.isWritable(existing)) {
            problem(JobKeys.OUTPUT_DIR, "can't be written, because this user may not write to " + existing);
        }
    }

    private void problem(Key<?> key, String message) {
        problems.add(new JobProblem(positions.apply(key.path()), key.path() + ": " + message));
    }
}
