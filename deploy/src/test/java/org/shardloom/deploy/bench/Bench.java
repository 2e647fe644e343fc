package org.shardloom.deploy.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine;

/** Runs the command as the command line does. */
final class Bench {
    private Bench() {}

    /** What a command ended with and printed. */
    record Outcome(int status, String out, String error) {
        JsonNode json() throws IOException {
            if (status != 0) {
                throw new AssertionError("ended with status " + status + ": " + error);
            }
            return new ObjectMapper().readTree(out);
        }
    }

    static Outcome run(String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter error = new StringWriter();
        CommandLine command = new CommandLine(new BenchCommand())
                .setOut(new PrintWriter(out, true))
                .setErr(new PrintWriter(error, true))
                .setExecutionExceptionHandler((e, line, parsed) -> {
                    line.getErr().println(e.getMessage());
                    return 1;
                });
        int status = command.execute(arguments);
        return new Outcome(status, out.toString(), error.toString());
    }

    /** A job of a model with a few thousand parameters. */
    static Path tinyJob(Path directory) throws IOException {
        Files.writeString(
                directory.resolve("config.json"),
                """
                {"model_type": "chatglm", "multi_query_attention": true, "padded_vocab_size": 96, "hidden_size": 32,
                 "num_layers": 2, "kv_channels": 8, "num_attention_heads": 4, "multi_query_group_num": 2,
                 "ffn_hidden_size": 48, "seq_length": 64, "add_qkv_bias": true}
                """);
        return Files.writeString(
                directory.resolve("job.yaml"),
                """
                model: {path: %s, init: random}
                data: {train: [none.jsonl], format: pretokenized, max_length: 16, max_source_length: 8}
                train: {max_steps: 1, micro_batch_size: 3, global_batch_size: 6}
                precision: fp32
                zero: {stage: 2}
                gradient_checkpointing: true
                output_dir: %s
                """
                        .formatted(directory, directory.resolve("output")));
    }

    /** Scratch directories that are there now. */
    static List<Path> left(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.filter(p -> p.getFileName().toString().startsWith("shardloom-bench-"))
                    .toList();
        }
    }
}
