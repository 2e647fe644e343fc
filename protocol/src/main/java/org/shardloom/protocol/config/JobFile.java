package org.shardloom.protocol.config;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** A job file that was read: the configuration, and where each of its keys was set. */
public final class JobFile {
    private final JobConfig config;
    private final String sourceName;
    private final Map<String, JobPosition> positions;

    private JobFile(JobConfig config, String sourceName, Map<String, JobPosition> positions) {
        this.config = config;
        this.sourceName = sourceName;
        this.positions = Map.copyOf(positions);
    }

    /**
     * Reads a job file. Relative paths in it start from its own directory, those in overrides from the working directory.
     *
     * @param file the job file, UTF-8; problems name it as given here
     * @param overrides such as {@code train.learning_rate=5e-5}; the value is YAML, nothing or {@code null} restores the
     *     default, and of two overrides of one key the later one counts. An override of {@code train.epochs} or {@code
     *     train.max_steps} replaces the file's setting of either, and so do those of the two warm-ups.
     * @throws JobConfigException with every problem that can be found without looking at other files
     */
    public static JobFile load(Path file, List<String> overrides) {
        Path directory = file.toAbsolutePath().normalize().getParent();
        return parse(readText(file), file.toString(), directory, overrides);
    }

    /**
     * Reads a job from text, as {@link #load} does; relative paths start from the working directory.
     *
     * @param sourceName what problems name as their file
     */
    public static JobFile parse(String yaml, String sourceName, List<String> overrides) {
        return parse(yaml, sourceName, Path.of("").toAbsolutePath(), overrides);
    }

    private static JobFile parse(String yaml, String sourceName, Path base, List<String> overrides) {
        JobValues values = JobReader.read(yaml, sourceName, base, overrides);
        JobChecks.run(values, JobPosition.of(sourceName));
        List<JobProblem> problems = values.problems();
        if (!problems.isEmpty()) {
            throw new JobConfigException(problems);
        }
        return new JobFile(JobAssembler.assemble(values), sourceName, values.positions());
    }

    /** Writes a configuration in its canonical form; it loads back as an equal one. */
    public static void write(JobConfig config, Path file) throws IOException {
        Files.writeString(file, config.toYaml());
    }

    /** Returns the configuration. */
    public JobConfig config() {
        return config;
    }

    /** Returns where a key was set, or else its section, or else the file. */
    public JobPosition position(String key) {
        JobPosition at = positions.get(key);
        if (at != null) {
            return at;
        }
        return key.isEmpty() ? JobPosition.of(sourceName) : position(Key.sectionOf(key));
    }

    private static String readText(Path file) {
        try {
            return Files.readString(file);
        } catch (NoSuchFileException missing) {
            throw unreadable(file, "there is no such file");
        } catch (AccessDeniedException denied) {
            throw unreadable(file, "may not be read by this user");
        } catch (CharacterCodingException notText) {
            throw unreadable(file, "is not UTF-8 text");
        } catch (IOException failed) {
            throw unreadable(file, "can't be read: " + failed.getMessage());
        }
    }

    private static JobConfigException unreadable(Path file, String message) {
        return new JobConfigException(List.of(new JobProblem(JobPosition.of(file.toString()), message)));
    }
}
