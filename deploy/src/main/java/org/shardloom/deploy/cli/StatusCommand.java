package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code deploy/status.sh}. */
@Command(name = "status", description = "Shows a run: state, step, loss, workers.", mixinStandardHelpOptions = true)
final class StatusCommand implements Callable<Integer> {
    @Option(names = "--json", description = "As JSON.")
    private boolean json;

    @Option(names = "--run", paramLabel = "OUTPUT_DIR", description = "Which run; default: the one started last.")
    private Path run;

    @Override
    public Integer call() throws Exception {
        JsonNode status = Control.of(run).get("/status");
        if (json) {
            System.out.println(status.toPrettyString());
            return 0;
        }
        System.out.printf(
                "%s%s  step %d/%d  loss %s  generation %d%n%s%n",
                status.path("state").asText(),
                status.path("detail").asText().isEmpty()
                        ? ""
                        : " (" + status.path("detail").asText() + ")",
                status.path("step").asLong(),
                status.path("total_steps").asLong(),
                status.path("loss").isNull()
                        ? "-"
                        : String.format("%.4f", status.path("loss").asDouble()),
                status.path("generation").asLong(),
                status.path("output_dir").asText());
        for (JsonNode worker : status.path("workers")) {
            System.out.printf(
                    "  worker %d  rank %s  %s  %s  %s  pid %d%n",
                    worker.path("id").asInt(),
                    worker.path("rank").asInt() < 0 ? "-" : worker.path("rank").asText(),
                    worker.path("device").asText(),
                    worker.path("state").asText(),
                    worker.path("host").asText(),
                    worker.path("pid").asLong());
        }
        return 0;
    }
}
