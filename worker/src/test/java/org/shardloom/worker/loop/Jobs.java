package org.shardloom.worker.loop;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.weights.SharedFixtures;

/** Jobs over tiny-chatglm3 and random pretokenized samples. */
public final class Jobs {
    private Jobs() {}

    /** 37 samples, so that epochs do not end where steps do; 12 steps of 8 samples unless the overrides say otherwise. */
    public static JobConfig write(Path directory, String... overrides) throws IOException {
        Random random = new Random(99);
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 37; i++) {
            List<Integer> ids = new ArrayList<>();
            List<Integer> labels = new ArrayList<>();
            int length = 6 + random.nextInt(20);
            for (int t = 0; t < length; t++) {
                ids.add(random.nextInt(512));
                labels.add(t < length / 3 ? -100 : ids.get(t));
            }
            lines.append("{\"input_ids\": ")
                    .append(ids)
                    .append(", \"labels\": ")
                    .append(labels)
                    .append("}\n");
        }
        Files.writeString(directory.resolve("train.jsonl"), lines);
        Path file = directory.resolve("job.yaml");
        Files.writeString(
                file,
                """
                model: {path: %s}
                data: {train: train.jsonl, format: pretokenized, max_length: 64}
                method: {type: full}
                train:
                  max_steps: 12
                  micro_batch_size: 2
                  global_batch_size: 8
                  learning_rate: 1e-3
                  schedule: {type: linear, warmup_steps: 3}
                  seed: 4
                precision: fp32
                zero: {stage: 3}
                gradient_checkpointing: false
                output_dir: out
                """
                        .formatted(SharedFixtures.tinyChatglm3()));
        return JobFile.load(file, List.of(overrides)).config();
    }
}
