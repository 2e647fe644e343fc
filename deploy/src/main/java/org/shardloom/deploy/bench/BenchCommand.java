package org.shardloom.deploy.bench;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code shardloom bench}. */
@Command(
        name = "bench",
        description = "Measures training steps and what they are made of, on this machine. Nothing is left behind.",
        mixinStandardHelpOptions = true,
        subcommands = {
            StepCommand.class,
            GemmCommand.class,
            KernelsCommand.class,
            AdamCommand.class,
            CollectivesCommand.class,
            CheckpointCommand.class
        })
public final class BenchCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new CommandLine.ParameterException(spec.commandLine(), "name a benchmark");
    }
}
