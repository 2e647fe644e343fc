package org.shardloom.deploy.bench;

import java.io.PrintWriter;
import org.shardloom.worker.plan.Gpus;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Options of every benchmark. */
final class CommonOptions {
    @Spec(Spec.Target.MIXEE)
    private CommandSpec command;

    @Option(names = "--json", description = "Prints one JSON object instead of a table.")
    boolean json;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "10",
            description = "Measured repetitions, of which the median is reported; default: ${DEFAULT-VALUE}.")
    int steps;

    @Option(
            names = "--warmup",
            paramLabel = "N",
            defaultValue = "3",
            description = "Repetitions before, not measured; default: ${DEFAULT-VALUE}.")
    int warmup;

    /** Refuses impossible counts. */
    void check() {
        require(steps >= 1, "--steps is at least 1, found " + steps);
        require(warmup >= 0, "--warmup is at least 0, found " + warmup);
    }

    /** Refuses a card whose rates are not known; null is none. */
    void requireCard(String card) {
        require(
                card == null || Gpus.card(card).isPresent(),
                "--card is one of " + String.join(", ", Gpus.cardKeys()) + ", found '" + card + "'");
    }

    /** Ends the command with the message and exit status 2 where the condition does not hold. */
    void require(boolean condition, String message) {
        if (!condition) {
            throw new CommandLine.ParameterException(command.commandLine(), message);
        }
    }

    /** Prints the report as it was asked for. */
    void print(Report report) {
        PrintWriter out = command.commandLine().getOut();
        out.println(json ? report.toJson() : report.toText());
        out.flush();
    }

    /** Threads to use: what was asked for, or this share of the processors. */
    int threads(int asked, int processes) {
        require(asked >= 0, "--threads is at least 1, found " + asked);
        return asked > 0 ? asked : Math.max(1, Runtime.getRuntime().availableProcessors() / processes);
    }
}
