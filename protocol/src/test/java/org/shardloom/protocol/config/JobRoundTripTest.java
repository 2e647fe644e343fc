package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class JobRoundTripTest {
    private static final int JOBS = 500;

    @Test
    void anyConfigurationLoadsBackFromItsRendering() {
        long seed = System.nanoTime();
        Random random = new Random(seed);
        Set<JobConfig> seen = new HashSet<>();
        for (int i = 0; i < JOBS; i++) {
            JobConfig config = RandomJobs.next(random);
            String yaml = config.toYaml();
            assertEquals(config, Jobs.parse(yaml), "seed " + seed + "\n" + yaml);
            assertEquals(yaml, Jobs.parse(yaml).toYaml(), "seed " + seed);
            seen.add(config);
        }
        assertTrue(seen.size() > JOBS * 9 / 10, "random jobs differ");
    }

    @Test
    void aCharacterOfTwoHalvesMayStandAnywhere() {
        for (int spaces = 900; spaces < 1100; spaces++) {
            String yaml = Jobs.MINIMAL + "#" + " ".repeat(spaces) + "\n# \ud83d\ude00\n";
            assertEquals(Jobs.parse(Jobs.MINIMAL), Jobs.parse(yaml), "after " + spaces + " spaces");
        }
    }

    @Test
    void theRenderingIsReadable() {
        String yaml = Jobs.parse(Jobs.MINIMAL).toYaml();
        assertTrue(
                yaml.startsWith(
                        """
                model:
                  path: "/models/glm"
                  init: pretrained
                tokenizer: "/models/glm"
                data:
                  train: ["/data/train.jsonl"]
                  weights: []
                  format: alpaca
                """),
                yaml);
        assertTrue(
                yaml.contains(
                        """
                    no_decay: []
                  max_grad_norm: 1.0
                  loss_reduction: token
                """),
                yaml);
    }

    @Test
    void aFileThatIsWrittenLoadsBack(@TempDir Path directory) throws IOException {
        JobConfig config = Jobs.with("workers: 3\n");
        Path file = directory.resolve("job.yaml");
        JobFile.write(config, file);
        assertEquals(config, JobFile.load(file, List.of()).config());
        assertEquals(config.toYaml(), Files.readString(file));
    }

    @Test
    void optionsOfAMethodLoadBack() {
        Map<String, Object> options = Map.of(
                "rank",
                8,
                "alpha",
                1.5f,
                "bias",
                "no",
                "on",
                true,
                "targets",
                List.of("a", "1", 2L),
                "Odd: key",
                Map.of("null", "~", "x", Map.of("y", List.of())));
        JobConfig base = Jobs.parse(Jobs.MINIMAL);
        JobConfig config = new JobConfig(
                base.model(),
                base.tokenizer(),
                base.data(),
                new MethodConfig(MethodConfig.Type.LORA, options),
                base.train(),
                base.precision(),
                base.zero(),
                base.gradientCheckpointing(),
                base.checkpoint(),
                base.evaluation(),
                base.workers(),
                base.device(),
                base.outputDir(),
                base.cluster(),
                base.threadsPerWorker());
        JobValues values = JobReader.read(config.toYaml(), "job.yaml", Path.of("/"), List.of());
        assertEquals(List.of(), values.problems());
        assertEquals(config, JobAssembler.assemble(values));
        assertEquals(8L, config.method().options().get("rank"));
    }

    @Test
    void configurationsCannotBeChanged() {
        JobConfig config = Jobs.parse(Jobs.MINIMAL);
        assertThrows(
                UnsupportedOperationException.class, () -> config.data().train().clear());
        assertThrows(
                UnsupportedOperationException.class,
                () -> config.method().options().put("a", 1));
    }

    @Test
    void theFingerprintIgnoresWhatMembersMayDifferIn() {
        String fingerprint = Jobs.parse(Jobs.MINIMAL).fingerprint();
        assertTrue(fingerprint.matches("[0-9a-f]{64}"), fingerprint);
        for (String same : List.of("workers=3", "threads_per_worker=2", "cluster.host=10.0.0.1", "cluster.port=99")) {
            assertEquals(fingerprint, Jobs.with("", same).fingerprint(), same);
        }
        for (String other : List.of("train.seed=2", "output_dir=/other", "zero.stage=2", "precision=fp32")) {
            assertNotEquals(fingerprint, Jobs.with("", other).fingerprint(), other);
        }
    }
}
