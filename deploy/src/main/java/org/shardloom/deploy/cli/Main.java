package org.shardloom.deploy.cli;

import java.io.OutputStreamWriter;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import org.shardloom.deploy.bench.BenchCommand;
import org.shardloom.deploy.bench.BenchRankCommand;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The program's entry point: {@code shardloom COMMAND …}. Exit status: 0 done, 1 failed, 2 wrong usage or a bad job file. */
@Command(
        name = "shardloom",
        description = "Fine-tunes large language models on a cluster, from the JVM.",
        mixinStandardHelpOptions = true,
        versionProvider = Version.class,
        subcommands = {
            StartCommand.class,
            StatusCommand.class,
            ScaleCommand.class,
            StopCommand.class,
            ValidateCommand.class,
            PlanCommand.class,
            DoctorCommand.class,
            GenerateCommand.class,
            ChatCommand.class,
            EvaluateCommand.class,
            ExportCommand.class,
            MergeCommand.class,
            ConvertCommand.class,
            ImportCommand.class,
            WorkerCommand.class,
            WarmUpCommand.class,
            BenchCommand.class,
            BenchRankCommand.class,
            CommandLine.HelpCommand.class
        })
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        // JavaCPP warns on standard error that NCCL's and NVML's bindings are of another release; logged, it is kept
        // quiet.
        System.setProperty("org.bytedeco.javacpp.logger", "slf4j");
        // Answers and data are UTF-8 whatever the locale.
        System.exit(run(
                new PrintWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), true),
                new PrintWriter(System.err, true),
                arguments));
    }

    /** Runs a command; returns the exit status. */
    static int run(PrintWriter out, PrintWriter error, String... arguments) {
        return new CommandLine(new Main())
                .setOut(out)
                .setErr(error)
                .setExecutionExceptionHandler((e, command, parsed) -> {
                    command.getErr().println("shardloom: " + Failures.describe(e));
                    return Failures.isUsage(e) ? 2 : 1;
                })
                .setParameterExceptionHandler((e, given) -> {
                    CommandLine command = e.getCommandLine();
                    command.getErr()
                            .println("shardloom: " + e.getMessage() + " (see deploy/"
                                    + command.getCommandSpec().qualifiedName(" ") + " --help)");
                    return 2;
                })
                .setCaseInsensitiveEnumValuesAllowed(true)
                .execute(arguments);
    }
}
