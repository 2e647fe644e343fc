package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;

/** Weights written anew, as the command line does it, in this process. */
@Timeout(60)
class ConvertCommandTest {
    @TempDir
    Path directory;

    private final Path fixtures = TinyJob.shared("fixtures/tiny-chatglm3");

    private String run(int status, String... arguments) {
        StringWriter error = new StringWriter();
        PrintWriter out = new PrintWriter(new StringWriter());
        assertEquals(status, Main.run(out, new PrintWriter(error, true), arguments), error.toString());
        return error.toString();
    }

    @Test
    void pytorchFilesBecomeSafetensorsOfAnotherDtype() throws Exception {
        Path output = directory.resolve("out");
        String[] arguments = {
            "convert", "--model", fixtures.resolve("bin-fp16").toString(), "--output", output.toString()
        };
        run(
                0,
                Stream.concat(Stream.of(arguments), Stream.of("--dtype", "fp32", "--max-shard-size", "1"))
                        .toArray(String[]::new));
        try (TensorSource was = WeightsDirectory.open(fixtures.resolve("bin-fp16"));
                TensorSource is = WeightsDirectory.open(output)) {
            for (String name : was.tensors().keySet()) {
                assertEquals(WeightDtype.F32, is.info(name).dtype());
                assertArrayEquals(was.readAll(name), is.readAll(name), name);
            }
        }
        assertTrue(run(2, arguments).contains("exists already"));
    }

    @Test
    void whatIsNoModelIsForOtherCommands() {
        String adapter = fixtures.resolve("lora-all").toString();
        assertTrue(run(
                        2,
                        "convert",
                        "--model",
                        adapter,
                        "--output",
                        directory.resolve("out").toString())
                .contains("shardloom merge --adapter"));
    }
}
