package org.shardloom.deploy.e2e;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;

/** Job files over the tiny reference models. */
public final class TinyJob {
    private TinyJob() {}

    /** A file or folder of the shared folder beside the checkout; the test is skipped, loudly, where there is none. */
    public static Path shared(String name) {
        Path path = sharedRoot().resolve(name).normalize();
        if (!Files.exists(path)) {
            System.err.println("*** SKIPPED: no " + path + " ***");
        }
        Assumptions.assumeTrue(Files.exists(path), "no " + path);
        return path;
    }

    private static Path sharedRoot() {
        String override = System.getenv("SHARDLOOM_SHARED");
        return override != null ? Path.of(override) : Commands.ROOT.resolve("../shared");
    }

    /** The weights and config.json of a tiny model: fp32, or the fp16 copy kept with the tests, which has the same numbers. */
    static Path model(String model) {
        Path kept = kept(model);
        return isShared(model) || !Files.exists(kept) ? shared("fixtures/" + model + "/safetensors-fp32") : kept;
    }

    /** A file of a tiny model's folder, such as train.jsonl; where there is no shared folder, the copy kept with the tests. */
    static Path file(String model, String name) {
        Path kept = kept(model).resolve(name);
        return isShared(model) || !Files.exists(kept) ? shared("fixtures/" + model + "/" + name) : kept;
    }

    /** The rows of a tiny model's trace as a data file: there is none for the first. */
    static Path rows(Path directory, String model) throws IOException {
        if (!model.equals("tiny-chatglm1")) {
            return file(model, "train.jsonl");
        }
        StringBuilder lines = new StringBuilder();
        try (TensorSource train = SafetensorsFile.open(file(model, "train.safetensors"))) {
            for (int b = 0; b < 5; b++) {
                long[] ids = integers(train, "batch/" + b + "/input_ids");
                long[] labels = integers(train, "batch/" + b + "/labels");
                long[] lengths = integers(train, "batch/" + b + "/lengths");
                int width = ids.length / lengths.length;
                for (int row = 0; row < lengths.length; row++) {
                    lines.append("{\"input_ids\": ").append(row(ids, row * width, (int) lengths[row]));
                    lines.append(", \"labels\": ").append(row(labels, row * width, (int) lengths[row]));
                    lines.append("}\n");
                }
            }
        }
        return Files.writeString(directory.resolve(model + ".jsonl"), lines);
    }

    private static long[] integers(TensorSource source, String name) throws IOException {
        ByteBuffer bytes =
                ByteBuffer.allocate((int) source.info(name).byteCount()).order(ByteOrder.LITTLE_ENDIAN);
        source.readRaw(name, 0, bytes);
        long[] values = new long[bytes.capacity() / Long.BYTES];
        bytes.flip().asLongBuffer().get(values);
        return values;
    }

    private static List<Integer> row(long[] values, int from, int count) {
        return IntStream.range(from, from + count)
                .map(i -> (int) values[i])
                .boxed()
                .toList();
    }

    /** Whether only the copy kept with the tests is there. */
    static boolean isKept(String model) {
        return !isShared(model);
    }

    private static boolean isShared(String model) {
        return Files.exists(sharedRoot().resolve("fixtures").resolve(model));
    }

    private static Path kept(String model) {
        return Commands.ROOT.resolve("worker/src/test/resources").resolve(model);
    }

    /** The 20-step trace of a tiny model: micro-batches of four rows, means of means, as the reference was computed. */
    public static Path write(Path directory, String model, int workers, int stage) throws IOException {
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
                        .formatted(model(model), rows(directory, model), stage, workers, directory.resolve("output")));
        return job;
    }

    /** Arguments that start the job with other values of some keys. */
    static String[] with(Path job, String... settings) {
        return Stream.concat(
                        Stream.of("--config", job.toString()),
                        Stream.of(settings).flatMap(s -> Stream.of("--set", s)))
                .toArray(String[]::new);
    }
}
