package org.shardloom.deploy.quickstart;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.UUID;

/**
 * The files of the quickstart:
 *
 * <pre>
 *   model/config.json             a ChatGLM3-architecture model of 5 million parameters, to be started at random
 *   model/tokenizer.model         its SentencePiece vocabulary
 *   model/tokenizer_config.json
 *   data/train.jsonl              see {@link QuickstartTask}
 *   data/heldout.jsonl
 *   job.yaml                      the job that trains the one on the other; its results go to output/
 * </pre>
 *
 * @param job the job file
 * @param model the directory of the model and its tokenizer
 * @param train the samples to train on
 * @param heldOut the questions to test with
 * @param output where the job puts its results; not created here
 */
public record QuickstartFiles(Path job, Path model, Path train, Path heldOut, Path output) {

    /**
     * Writes the files, or those of them that are missing or different. Each appears whole or not at all, and the job
     * file last, so that whoever finds it finds everything; one that is already right is left untouched.
     *
     * @param dir where to; created if missing
     * @param seed of the data and of the run
     * @return where the files are, as absolute paths
     * @throws IOException if a file can't be written
     */
    public static QuickstartFiles create(Path dir, long seed) throws IOException {
        Path root = dir.toAbsolutePath().normalize();
        QuickstartFiles files = new QuickstartFiles(
                root.resolve("job.yaml"),
                root.resolve("model"),
                root.resolve("data").resolve("train.jsonl"),
                root.resolve("data").resolve("heldout.jsonl"),
                root.resolve("output"));
        SentencePieceModelWriter tokenizer = SentencePieceModelWriter.create(QuickstartTask.vocabulary());
        QuickstartTask task = QuickstartTask.create(seed);

        write(
                files.model().resolve("config.json"),
                QuickstartModel.forVocabulary(tokenizer.size()).toConfigJson());
        write(files.model().resolve("tokenizer.model"), tokenizer.toByteArray());
        write(files.model().resolve("tokenizer_config.json"), TOKENIZER_CONFIG);
        write(files.train(), jsonLines(task.train()));
        write(files.heldOut(), jsonLines(task.heldOut()));
        write(files.job(), files.jobYaml(seed));
        return files;
    }

    private static final String TOKENIZER_CONFIG =
            """
            {
              "name_or_path": "shardloom/quickstart",
              "remove_space": false,
              "do_lower_case": false,
              "tokenizer_class": "ChatGLMTokenizer",
              "auto_map": {
                "AutoTokenizer": [
                  "tokenization_chatglm.ChatGLMTokenizer",
                  null
                  ]
              }
            }
            """;

    private String jobYaml(long seed) {
        return """
                # The quickstart: teaches a model of 5 million parameters, started at random, to write numbers in words and
                # words as numbers. Start it with:  deploy/start.sh --config THIS_FILE
                # This file is generated. Copy it before you change it, or override keys: --set train.max_steps=100

                model:
                  path: %s
                  init: random                # pretrained: read the weights from path

                tokenizer: %s

                data:
                  train:                      # one or more files of JSON lines
                    - %s
                  format: alpaca              # instruction, input, output
                  max_length: 128             # tokens of a sample; these have about 25
                  max_source_length: 64       # tokens of its question
                  shuffle: true
                  truncate: true              # false: skip longer samples, and count them

                method:
                  type: full                  # train every parameter

                train:
                  max_steps: 300              # or epochs; 300 steps see nearly every sample once
                  micro_batch_size: 16        # samples a worker computes at once
                  global_batch_size: 64       # samples of a step, whatever the number of workers
                  learning_rate: 1.0e-3
                  schedule:
                    type: cosine
                    warmup_steps: 30
                  optimizer:
                    type: adamw
                    betas: [0.9, 0.95]
                    eps: 1.0e-8
                    weight_decay: 0.1
                    no_decay: []              # parts of the names of parameters that do not decay
                  max_grad_norm: 1.0
                  loss_reduction: token       # every answer token of a step counts the same
                  min_step_seconds: 0         # slows the run down, to watch it
                  seed: %d

                precision: bf16

                zero:
                  stage: 3                    # parameters, gradients and optimizer state are sharded
                  offload_optimizer: true
                  offload_params: false

                gradient_checkpointing: false # memory is no concern here

                checkpoint:
                  every_steps: 100
                  keep_last: 2
                  keep_best: 0

                workers: 4
                device: cpu
                output_dir: %s
                """
                .formatted(quote(model), quote(model), quote(train), seed, quote(output));
    }

    /** A path as a YAML scalar; a JSON string is one. */
    private static String quote(Path path) {
        return Json.quote(path.toString());
    }

    private static String jsonLines(List<QuickstartTask.Sample> samples) {
        StringBuilder lines = new StringBuilder();
        samples.forEach(sample -> lines.append(sample.toJson()).append('\n'));
        return lines.toString();
    }

    private static void write(Path file, String content) throws IOException {
        write(file, content.getBytes(StandardCharsets.UTF_8));
    }

    private static void write(Path file, byte[] content) throws IOException {
        if (Files.isRegularFile(file) && Arrays.equals(Files.readAllBytes(file), content)) {
            return;
        }
        Files.createDirectories(file.getParent());
        Path temporary = file.resolveSibling("." + file.getFileName() + "." + UUID.randomUUID() + ".tmp");
        try {
            try (FileChannel channel =
                    FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                ByteBuffer buffer = ByteBuffer.wrap(content);
                while (buffer.hasRemaining()) {
                    channel.write(buffer);
                }
                channel.force(true);
            }
            Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
        } finally {
            Files.deleteIfExists(temporary);
        }
    }
}
