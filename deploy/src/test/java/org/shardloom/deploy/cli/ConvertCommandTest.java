package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
    void filesAreAsLargeAsIsSaid() throws Exception {
        for (String size : List.of("200KB", "300 kib", "1")) {
            Path output = directory.resolve("out-" + size);
            run(
                    0,
                    "convert",
                    "--model",
                    fixtures.resolve("bin-fp16").toString(),
                    "--output",
                    output.toString(),
                    "--max-shard-size",
                    size);
            try (Stream<Path> files = Files.list(output)) {
                List<Path> weights =
                        files.filter(f -> f.toString().endsWith(".safetensors")).toList();
                // 335,488 bytes in all
                assertEquals(size.equals("1") ? 1 : 2, weights.size(), weights.toString());
            }
        }
        for (String size : List.of("0", "-1", "big", "5XB", "0GB")) {
            String error = run(
                    2,
                    "convert",
                    "--model",
                    fixtures.resolve("bin-fp16").toString(),
                    "--output",
                    directory.resolve("none").toString(),
                    "--max-shard-size",
                    size);
            assertTrue(error.contains("--max-shard-size is '" + size + "', expected a size"), error);
        }
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
