package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.tuning.BaseSamples;
import org.shardloom.worker.weights.ArraySource;
import org.shardloom.worker.weights.OverlaidSource;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** The command as the command line runs it, and adapters that meet another model than theirs. */
@Timeout(120)
class MergeCommandTest {
    private final Path lora = TinyJob.shared("fixtures/tiny-chatglm3/lora-all");
    private final Path base = TinyJob.shared("fixtures/tiny-chatglm3/safetensors-fp32");

    @TempDir
    Path directory;

    private Path adapter;
    private Path output;

    @BeforeEach
    void copyAdapter() throws IOException {
        adapter = Files.createDirectories(directory.resolve("adapter"));
        for (String file : List.of("adapter_config.json", "adapter_model.safetensors")) {
            Files.copy(lora.resolve(file), adapter.resolve(file));
        }
        output = directory.resolve("merged");
    }

    private static String run(int status, Object... arguments) {
        StringWriter error = new StringWriter();
        String[] line = Stream.of(arguments).map(String::valueOf).toArray(String[]::new);
        int found = Main.run(new PrintWriter(new StringWriter()), new PrintWriter(error, true), line);
        assertEquals(status, found, error.toString());
        return error.toString();
    }

    private void assertNothingWritten() throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            assertFalse(files.anyMatch(f -> f.getFileName().toString().startsWith("merged")), "something was written");
        }
    }

    /** The adapter with its second factors made smaller. */
    private void weaken(float factor) throws IOException {
        TensorSource factors = WeightsDirectory.openAdapter(lora);
        for (String name : List.copyOf(factors.tensors().keySet())) {
            if (name.contains("lora_B")) {
                float[] values = factors.readAll(name);
                for (int i = 0; i < values.length; i++) {
                    values[i] *= factor;
                }
                List<Long> shape = factors.info(name).shape();
                factors = new OverlaidSource(factors, new ArraySource(name, values, shape.get(0), shape.get(1)));
            }
        }
        AdapterFiles.write(adapter, AdapterFiles.read(lora).method(), base, factors);
        factors.close();
    }

    @Test
    void whatTheProbeRefusesIsNotLeft() throws Exception {
        weaken(0);
        String error = run(1, "merge", "--adapter", adapter, "--base", base, "--output", output);
        assertTrue(error.contains(adapter + " changes nothing: the logits are those of the base model"), error);
        assertNothingWritten();
        weaken(1e-5f);
        error = run(1, "merge", "--adapter", adapter, "--base", base, "--output", output, "--dtype", "bf16");
        assertTrue(
                error.contains(output + " (BF16, merged with " + adapter + ") is not the base model with the adapter")
                        && error.contains("merge with --dtype fp32"),
                error);
        assertEquals(1, error.lines().filter(l -> l.startsWith("shardloom: ")).count(), error);
        assertNothingWritten();
        run(0, "merge", "--adapter", adapter, "--base", base, "--output", output, "--dtype", "fp32");
        assertTrue(Files.exists(output.resolve("model.safetensors")));
        Path unprobed = directory.resolve("unprobed");
        run(0, "merge", "--adapter", adapter, "--base", base, "--output", unprobed, "--dtype", "bf16", "--no-probe");
        assertTrue(Files.exists(unprobed.resolve("model.safetensors")));
    }

    @Test
    void anAdapterOfAnotherModelOfTheSameShapeIsRefused() throws Exception {
        Path other = directory.resolve("other");
        run(0, "merge", "--adapter", adapter, "--base", base, "--output", other);
        try (TensorSource files = WeightsDirectory.open(base)) {
            BaseSamples.of(base, DecoderUnits.of(ModelConfigReader.read(base)), files)
                    .write(adapter);
        }
        Path data = Files.writeString(
                directory.resolve("data.jsonl"), "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}\n");
        Path job = Files.writeString(
                directory.resolve("job.yaml"),
                """
                model: {path: %s, adapter: %s}
                data: {train: [%s], format: pretokenized}
                method: {type: lora, rank: 8, alpha: 32, targets: all}
                train: {global_batch_size: 1, max_steps: 1}
                workers: 1
                output_dir: %s
                """
                        .formatted(other, adapter, data, directory.resolve("run")));
        for (Object[] command : new Object[][] {
            {"merge", "--adapter", adapter, "--base", other, "--output", output},
            {"generate", "--model", adapter, "--base", other, "--prompt", "x"},
            {"evaluate", "--model", adapter, "--base", other, "--data", data},
            {"validate", "--config", job},
            {"start", "--config", job}
        }) {
            String error = run(1, command);
            assertTrue(
                    error.contains(adapter + " was trained on the model in " + base + ", and the weights in " + other),
                    error);
            assertEquals(1, error.lines().count(), error);
        }
        assertNothingWritten();
        run(0, "validate", "--config", job, "--set", "model.path=" + base);
    }
}
