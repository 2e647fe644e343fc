package org.shardloom.worker.weights;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;

/** Finds the fixture folder that lies beside the checkout; tests that need it are skipped loudly where it is absent. */
public final class SharedFixtures {
    private SharedFixtures() {}

    public static Path require(String name) {
        String override = System.getenv("SHARDLOOM_SHARED");
        Path shared = override != null
                ? Path.of(override)
                : Path.of(System.getProperty("shardloom.root", "..")).resolve("../shared");
        Path path = shared.resolve("fixtures").resolve(name);
        if (!Files.exists(path)) {
            System.err.println(
                    "*** SKIPPED: no fixture " + path.toAbsolutePath().normalize()
                            + "; set SHARDLOOM_SHARED to the folder that holds fixtures/ ***");
        }
        Assumptions.assumeTrue(Files.exists(path), "no fixture " + path);
        return path;
    }
}
