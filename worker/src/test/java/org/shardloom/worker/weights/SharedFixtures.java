package org.shardloom.worker.weights;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;

/** Finds the reference files that are kept beside the project, and those in it. Tests that need an absent one are skipped loudly. */
public final class SharedFixtures {
    private static final ObjectMapper JSON = new ObjectMapper();

    private SharedFixtures() {}

    /** A file or folder of {@code fixtures/}, or a skipped test. */
    public static Path require(String name) {
        return shared("fixtures/" + name);
    }

    /** A file or folder of the shared folder, or a skipped test. */
    public static Path shared(String relative) {
        String given = System.getenv("SHARDLOOM_SHARED");
        Path root = given != null
                ? Path.of(given)
                : Path.of(System.getProperty("shardloom.root", "..")).resolve("../shared");
        Path path = root.resolve(relative);
        if (!Files.exists(path)) {
            skip("no reference file " + path.toAbsolutePath().normalize()
                    + "; set SHARDLOOM_SHARED to the folder that has them");
        }
        return path;
    }

    /** Skips the test and says so on standard error, which Surefire keeps in {@code *-output.txt}; {@code .ci/run} shows such lines. */
    public static void skip(String why) {
        System.err.println("*** SKIPPED: " + why + " ***");
        Assumptions.abort(why);
    }

    /** The part of tiny-chatglm3 that is kept with the tests: weights, reference.safetensors, train.safetensors, generation.json. */
    public static Path tinyChatglm3() {
        try {
            return Path.of(SharedFixtures.class
                            .getResource("/tiny-chatglm3/config.json")
                            .toURI())
                    .getParent();
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }

    /** A JSON Lines file, one node a line. */
    public static List<JsonNode> lines(Path path) {
        try {
            List<JsonNode> nodes = new ArrayList<>();
            for (String line : Files.readAllLines(path)) {
                if (!line.isBlank()) {
                    nodes.add(JSON.readTree(line));
                }
            }
            return nodes;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A whole JSON file. */
    public static JsonNode json(Path path) {
        try {
            return JSON.readTree(path.toFile());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** An array of ints. */
    public static int[] ints(JsonNode array) {
        int[] ints = new int[array.size()];
        for (int i = 0; i < ints.length; i++) {
            ints[i] = array.get(i).intValue();
        }
        return ints;
    }
}
