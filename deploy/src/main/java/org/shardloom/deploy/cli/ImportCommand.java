package org.shardloom.deploy.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.shardloom.deploy.convert.ForeignSettings;
import org.shardloom.deploy.convert.JobDraft;
import org.shardloom.deploy.convert.JobImport;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code shardloom import}. */
@Command(
        name = "import",
        description = {
            "Turns settings of other tools into a job file, and names what it could not carry over.",
            "Knows DeepSpeed's JSON, shell scripts that train ChatGLM models with flags, and LLaMA-Factory's, XTuner's and"
                    + " ChatGLM3's YAML. Several files make one job: the later ones win."
        },
        footer = {
            "",
            "Exit status: 0 everything was carried over; 3 the job is written, and standard error names what was not carried over"
                    + " or is still needed; 1 a file holds no settings; 2 wrong usage, or no such file."
        },
        mixinStandardHelpOptions = true)
final class ImportCommand implements Callable<Integer> {
    private static final int INCOMPLETE = 3;

    @Parameters(paramLabel = "FILE", description = "*.json, *.yaml, *.yml, or a shell script.")
    private List<Path> files = new ArrayList<>();

    @Option(names = "--flags", paramLabel = "TEXT", description = "Flags as they stand on a command line.")
    private String flags;

    @Option(
            names = "--gpus",
            defaultValue = "0",
            paramLabel = "N",
            description = "Number of workers; default: what the settings say, or 1.")
    private long gpus;

    @Option(names = "--output", paramLabel = "FILE", description = "Where the job file goes; default: standard output.")
    private Path output;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws Exception {
        if (files.isEmpty() && flags == null) {
            throw new Failures.UsageException("nothing to import: name files, or give --flags");
        }
        if (output != null && Files.exists(output)) {
            throw new Failures.UsageException(output + " exists already");
        }
        JobImport conversion = new JobImport(gpus);
        for (Path file : files) {
            if (!Files.isRegularFile(file)) {
                throw new Failures.UsageException("there is no file " + file);
            }
            String text = read(file);
            conversion.has(file);
            boolean settings = file.toString().matches(".*\\.(json|ya?ml)");
            add(
                    conversion,
                    file.toString(),
                    settings ? ForeignSettings.ofYaml(text, file.toString()) : ForeignSettings.ofFlags(text));
        }
        if (flags != null) {
            add(conversion, "--flags", ForeignSettings.ofFlags(flags));
        }
        JobDraft draft = conversion.finish();
        if (output != null) {
            draft.moveTo(output.toAbsolutePath().getParent());
        }
        PrintWriter out = spec.commandLine().getOut();
        PrintWriter err = spec.commandLine().getErr();
        if (output == null) {
            out.print(draft.yaml());
            out.flush();
        } else {
            Files.writeString(output, draft.yaml());
            out.println("written: " + output);
        }
        draft.assumed().forEach(line -> err.println("default of the other tool: " + line));
        draft.decided().forEach(line -> err.println("decided here: " + line));
        draft.left().forEach(line -> err.println("not carried over: " + line));
        try {
            JobFile.parse(draft.yaml(), output == null ? "the job" : output.toString(), List.of());
        } catch (JobConfigException e) {
            e.getMessage().lines().forEach(line -> err.println("to be completed: " + line));
            return INCOMPLETE;
        }
        return draft.left().isEmpty() ? 0 : INCOMPLETE;
    }

    private static void add(JobImport conversion, String where, Map<String, Object> settings) {
        if (settings.isEmpty()) {
            throw new IllegalArgumentException(where + " holds no settings");
        }
        conversion.add(settings);
    }

    private static String read(Path file) throws IOException {
        try {
            return Files.readString(file);
        } catch (CharacterCodingException e) {
            throw new Failures.UsageException(file + " is not UTF-8 text");
        }
    }
}
