package org.shardloom.deploy.conf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.ToLongFunction;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.plan.HostFit;
import org.shardloom.worker.plan.JobPlan;
import org.shardloom.worker.plan.Planner;
import org.shardloom.worker.plan.RankPlan;

/** Every recipe loads, opens with how it is started, and says what the plan finds of parameters and memory. */
class RecipesTest {
    private static final List<String> FAMILIES = List.of("chatglm-6b", "chatglm2-6b", "chatglm3-6b");
    private static final List<String> METHODS = List.of("full", "freeze", "lora", "qlora", "p-tuning", "p-tuning-v2");
    /** Besides one of each method for each family. */
    private static final List<String> MORE =
            FAMILIES.stream().map(f -> f + "-p-tuning-v2-projection").toList();

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
        String family = FAMILIES.stream()
                .filter(f -> name.startsWith(f + "-"))
                .findFirst()
                .orElseThrow();
        DecoderConfig model = ModelConfigReader.read(TinyJob.shared("facts/models/" + family));
        JobPlan alone = plan(file, model, 1);
        JobPlan together = plan(file, model, 4);
        assertSays(text, String.format(Locale.ROOT, "Trained parameters: %,d\n", alone.trainedParameters()));
        assertSays(
                text,
                gigabytes("GPU:  %.2f GB with 1 worker, %.2f GB with 4", alone, together, RankPlan::devicePeakBytes));
        assertSays(
                text,
                gigabytes(
                        "host: %.2f GB with 1 worker, %.2f GB with 4",
                        alone, together, rank -> rank.pinnedHostBytes() + HostFit.PAGEABLE));
    }

    private static JobPlan plan(Path file, DecoderConfig model, int workers) {
        JobConfig job = JobFile.load(file, List.of("workers=" + workers)).config();
        return Planner.plan(job, model);
    }

    /** What its name and its comments promise. */
    @Test
    void recipesWithProjectionAreForOneWorker() throws IOException {
        for (String name : MORE) {
            JobConfig job =
                    JobFile.load(conf().resolve(name + ".yaml"), List.of()).config();
            assertEquals(1, job.workers());
            assertEquals(new TuningMethod.PTuningV2(128, true), job.method().tuning());
        }
    }

    private static String gigabytes(String format, JobPlan alone, JobPlan together, ToLongFunction<RankPlan> bytes) {
        return String.format(
                Locale.ROOT,
                format,
                bytes.applyAsLong(alone.ranks().get(0)) / 1e9,
                bytes.applyAsLong(together.ranks().get(0)) / 1e9);
    }

    private static void assertSays(String text, String what) {
        assertTrue(text.contains(what), "'" + what + "' is not in:\n" + text);
    }
}
