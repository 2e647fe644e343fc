package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;

/** A real pre-trained model, the 260K-parameter TinyStories Llama, through deploy/start.sh. */
class StoriesIT {
    private static final String STORY =
            "Once upon a time, a blue fox named Pip lived under a bridge. Pip sold warm soup to the ducks.";

    @TempDir
    Path directory;

    private Path job(Path model, Path data, String format, String train) throws Exception {
        Path job = directory.resolve("job.yaml");
        Files.writeString(
                job,
                """
                model: {path: %s}
                data: {train: [%s], format: %s, template: plain, max_length: 512, max_source_length: 64, shuffle: false}
                train: {%s, optimizer: {betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1}, max_grad_norm: 1.0}
                precision: fp32
                checkpoint: {every_steps: 0}
                workers: 2
                output_dir: %s
                """
                        .formatted(model, data, format, train, directory.resolve("output")));
        return job;
    }

    @Test
    @Timeout(value = 120, unit = TimeUnit.SECONDS)
    void tenStepTraceEqualsTheReference() throws Exception {
        Path fixture = TinyJob.shared("fixtures/stories260k");
        try (Commands commands = new Commands(directory);
                TensorSource reference = SafetensorsFile.open(fixture.resolve("reference.safetensors"))) {
            Path data = directory.resolve("train.jsonl");
            int rows = writeRows(reference, data);
            Path job = job(
                    fixture,
                    data,
                    "pretokenized",
                    "max_steps: 10, micro_batch_size: 1, global_batch_size: " + rows
                            + ", learning_rate: 1e-3, schedule: {type: constant, warmup_steps: 3}");
            commands.start("start.sh", "--config", job.toString())
                    .await(Duration.ofSeconds(90))
                    .expect(0);
            float[] losses = reference.readAll("train/loss");
            float[] norms = reference.readAll("train/grad_norm");
            List<JsonNode> metrics = Commands.metrics(directory.resolve("output"));
            assertEquals(10, metrics.size());
            for (int i = 0; i < 10; i++) {
                assertEquals(
                        losses[i], metrics.get(i).path("loss").asDouble(), 1e-3 * losses[i], "loss of step " + (i + 1));
                assertEquals(
                        norms[i],
                        metrics.get(i).path("grad_norm").asDouble(),
                        1e-3 * norms[i],
                        "norm of step " + (i + 1));
            }
        }
    }

    /** The reference's padded batch, a JSON line a row, without the padding. */
    private static int writeRows(TensorSource reference, Path file) throws Exception {
        long[] ids = longs(reference, "train/input_ids");
        long[] labels = longs(reference, "train/labels");
        int width = reference.info("train/input_ids").shape().get(1).intValue();
        List<String> lines = new ArrayList<>();
        for (int row = 0; row < ids.length / width; row++) {
            int length = width;
            while (length > 0 && labels[row * width + length - 1] == -100) {
                length--;
            }
            List<Long> rowIds = new ArrayList<>();
            List<Long> rowLabels = new ArrayList<>();
            for (int i = 0; i < length; i++) {
                rowIds.add(ids[row * width + i]);
                rowLabels.add(labels[row * width + i]);
            }
            lines.add("{\"input_ids\": " + rowIds + ", \"labels\": " + rowLabels + "}");
        }
        Files.write(file, lines);
        return lines.size();
    }

    private static long[] longs(TensorSource source, String name) throws Exception {
        ByteBuffer raw =
                ByteBuffer.allocate((int) source.info(name).elementCount() * 8).order(ByteOrder.LITTLE_ENDIAN);
        source.readRaw(name, 0, raw);
        long[] values = new long[raw.capacity() / 8];
        raw.flip();
        raw.asLongBuffer().get(values);
        return values;
    }

    @Test
    @Timeout(value = 180, unit = TimeUnit.SECONDS)
    void learnsATextAndContinuesIt() throws Exception {
        Path fixture = TinyJob.shared("fixtures/stories260k");
        String prompt = "Once upon a time, a blue fox";
        try (Commands commands = new Commands(directory)) {
            Path data = directory.resolve("story.jsonl");
            Files.writeString(
                    data,
                    "{\"instruction\": \"%s\", \"input\": \"\", \"output\": \"%s\"}%n"
                            .formatted(prompt, STORY.substring(prompt.length() + 1)));
            Path job = job(
                    fixture,
                    data,
                    "alpaca",
                    "max_steps: 120, micro_batch_size: 1, global_batch_size: 2, learning_rate: 5e-3, schedule: {type: constant}");
            String before = commands.run(
                            "shardloom",
                            "generate",
                            "--model",
                            fixture.toString(),
                            "--template",
                            "plain",
                            "--prompt",
                            prompt,
                            "--max-new-tokens",
                            "40")
                    .expect(0)
                    .output();
            commands.start("start.sh", "--config", job.toString())
                    .await(Duration.ofSeconds(120))
                    .expect(0);
            Path trained = directory.resolve("output/final");
            String after = commands.run(
                            "shardloom",
                            "generate",
                            "--model",
                            trained.toString(),
                            "--template",
                            "plain",
                            "--prompt",
                            prompt,
                            "--max-new-tokens",
                            "60")
                    .expect(0)
                    .output();
            assertTrue(
                    after.contains("named Pip lived under a bridge. Pip sold warm soup to the ducks."),
                    "before: " + before + "\nafter: " + after);
            assertTrue(!before.contains("Pip"), before);
            // A Llama is known to transformers itself: it reads the directory without our help.
            Optional<String> read = Python.run(
                    List.of("torch", "transformers"),
                    """
                    import sys, torch, transformers
                    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32)
                    print(sum(p.numel() for p in model.parameters()))
                    """,
                    trained.toString());
            read.ifPresent(parameters -> assertEquals("260032", parameters));
        }
    }
}
