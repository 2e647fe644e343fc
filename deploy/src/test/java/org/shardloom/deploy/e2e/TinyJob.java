package org.shardloom.deploy.e2e;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** Job files over the tiny reference models. */
final class TinyJob {
    private TinyJob() {}

    /** A file or folder of the shared folder beside the checkout; the test is skipped, loudly, where there is none. */
    static Path shared(String name) {
        String override = System.getenv("SHARDLOOM_SHARED");
        Path path = (override != null ? Path.of(override) : Commands.ROOT.resolve("../shared"))
                .resolve(name)
                .normalize();
        if (!Files.exists(path)) {
            System.err.println("*** SKIPPED: no " + path + " ***");
        }
        Assumptions.assumeTrue(Files.exists(path), "no " + path);
        return path;
    }

    /** The 20-step trace of a tiny model: micro-batches of four rows, means of means, as the reference was computed. */
    static Path write(Path directory, String model, int workers, int stage) throws IOException {
        Path fixture = shared("fixtures").resolve(model);
        Path job = directory.resolve("job.yaml");
        Files.writeString(
                job,
                """
                model: {path: %s, init: pretrained}
                data:
                  train: [%s]
                  format: pretokenized
                  max_length: 128
                  shuffle: false
                train:
                  max_steps: 20
                  micro_batch_size: 4
                  global_batch_size: 16
                  learning_rate: 1e-3
                  schedule: {type: constant, warmup_steps: 3}
                  optimizer: {betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1}
                  max_grad_norm: 1.0
                  loss_reduction: micro_batch
                precision: fp32
                zero: {stage: %d}
                gradient_checkpointing: false
                checkpoint: {every_steps: 0}
                workers: %d
                device: cpu
                output_dir: %s
                """
                        .formatted(
                                fixture.resolve("safetensors-fp32"),
                                fixture.resolve("train.jsonl"),
                                stage,
                                workers,
                                directory.resolve("output")));
        return job;
    }
}
