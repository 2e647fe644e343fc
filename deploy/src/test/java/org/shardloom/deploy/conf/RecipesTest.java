package org.shardloom.deploy.conf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.Tuning;

/** Every recipe loads, opens with how it is started, and says what the model's shape says of parameters and memory. */
class RecipesTest {
    private static final List<String> FAMILIES = List.of("chatglm-6b", "chatglm2-6b", "chatglm3-6b");
    private static final List<String> METHODS = List.of("full", "freeze", "lora", "qlora", "p-tuning", "p-tuning-v2");
    /** Besides one of each method for each family. */
    private static final List<String> MORE = List.of("chatglm2-6b-p-tuning-v2-projection");

    private static Path conf() {
        return Path.of(System.getProperty("shardloom.root", "..")).resolve("deploy/conf");
    }

    static Stream<String> recipes() {
        return Stream.concat(FAMILIES.stream().flatMap(f -> METHODS.stream().map(m -> f + "-" + m)), MORE.stream());
    }

    @Test
    void noRecipeIsForgotten() throws IOException {
        try (Stream<Path> files = Files.list(conf())) {
            assertEquals(
                    recipes().sorted().toList(),
                    files.map(f -> f.getFileName().toString())
                            .filter(n -> n.startsWith("chatglm"))
                            .map(n -> n.replace(".yaml", ""))
                            .sorted()
                            .toList());
        }
    }

    @ParameterizedTest
    @MethodSource("recipes")
    void aRecipeSaysWhatItsModelSays(String name) throws IOException {
        Path file = conf().resolve(name + ".yaml");
        String text = Files.readString(file);
        assertTrue(text.startsWith("# deploy/start.sh --config deploy/conf/" + name + ".yaml --set model.path="), name);
        JobConfig job = JobFile.load(file, List.of()).config();
        String family = FAMILIES.stream()
                .filter(f -> name.startsWith(f + "-"))
                .findFirst()
                .orElseThrow();
        TunedModel model = Tuning.of(
                ModelConfigReader.read(TinyJob.shared("facts/models/" + family)),
                job.method().tuning());
        long trained =
                model.trained().stream().mapToLong(UnitSpec::parameterCount).sum();
        assertSays(text, String.format(Locale.ROOT, "Trained parameters: %,d\n", trained));
        double weights = model.units().stream().mapToDouble(RecipesTest::bytes).sum();
        assertSays(text, gigabytes("weights:                  %.2f GB with 1 worker, %.2f GB with 4", weights));
        assertSays(text, gigabytes("optimizer and sums: %.2f GB with 1 worker, %.2f GB with 4", 16.0 * trained));
    }

    /** What its name and its comments promise. */
    @Test
    void theRecipeWithProjectionIsForOneWorker() throws IOException {
        JobConfig job =
                JobFile.load(conf().resolve(MORE.get(0) + ".yaml"), List.of()).config();
        assertEquals(1, job.workers());
        assertEquals(new TuningMethod.PTuningV2(128, true), job.method().tuning());
    }

    private static double bytes(UnitSpec unit) {
        double each = unit.fp32() ? 4 : unit.quantization() == Quantization.NONE ? 2 : 0.5 + 1.0 / 64 + 4.0 / 16384;
        return each * unit.parameterCount();
    }

    private static String gigabytes(String format, double bytes) {
        return String.format(Locale.ROOT, format, bytes / 1e9, bytes / 4e9);
    }

    private static void assertSays(String text, String what) {
        assertTrue(text.contains(what), "'" + what + "' is not in:\n" + text);
    }
}
