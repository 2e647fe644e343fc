package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;

/** Short ways to job files in tests. */
final class Jobs {
    /** What every job needs; four lines. */
    static final String MINIMAL =
            """
            model: {path: /models/glm}
            data:
              train: /data/train.jsonl
            output_dir: /out
            """;

    private Jobs() {}

    static JobConfig parse(String yaml, String... overrides) {
        return JobFile.parse(yaml, "job.yaml", List.of(overrides)).config();
    }

    /** Parses the minimal job with more lines, of which the first is line 5. */
    static JobConfig with(String more, String... overrides) {
        return parse(MINIMAL + more, overrides);
    }

    /** Returns the message of the exception that reading this must throw. */
    static String refused(String yaml, String... overrides) {
        return assertThrows(JobConfigException.class, () -> parse(yaml, overrides))
                .getMessage();
    }

    /** As {@link #refused}, for the minimal job with more lines, of which the first is line 5. */
    static String refusedWith(String more, String... overrides) {
        return refused(MINIMAL + more, overrides);
    }
}
