package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.tuning.AdapterFiles;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;

/** The references' training traces of every tuning method through deploy/start.sh. */
class TuningIT {
    @TempDir
    Path directory;

    /** Every trace there is, by one worker and by four, under both stages. */
    static Stream<Arguments> traces() {
        List<String> prefixes = List.of("ptuning-embedding", "ptuning-projection", "freeze");
        Map<String, List<String>> more = Map.of(
                "tiny-chatglm3", List.of("lora-qkv", "lora-all", "qlora-all"),
                "tiny-chatglm2", List.of("lora-qkv", "lora-all"),
                "tiny-chatglm1", List.of());
        List<Arguments> all = new ArrayList<>();
        for (String model : more.keySet().stream().sorted().toList()) {
            for (String method :
                    Stream.concat(more.get(model).stream(), prefixes.stream()).toList()) {
                for (int workers : new int[] {1, 4}) {
                    all.add(Arguments.of(model, method, workers, 2));
                    all.add(Arguments.of(model, method, workers, 3));
                }
            }
        }
        return all.stream();
    }

    @ParameterizedTest
    @MethodSource("traces")
    @Timeout(value = 120, unit = TimeUnit.SECONDS)
    void lossesEqualTheReferenceAndWhatWasTrainedIsLeft(String model, String method, int workers, int stage)
            throws Exception {
        Path job = TinyJob.write(directory, model, workers, stage);
        Path fixture = TinyJob.shared("fixtures/" + model + "/" + method);
        Path output = directory.resolve("output");
        Path data = directory.resolve("batch.jsonl");
        Files.write(data, Files.readAllLines(TinyJob.rows(directory, model)).subList(0, 16));
        String settings = Files.readString(job)
                .replaceFirst("max_steps: 20", "max_steps: 5")
                .replaceFirst("loss_reduction: micro_batch", "loss_reduction: token")
                .replaceFirst("train: \\[.*\\]", "train: [" + data + "]");
        boolean freeze = method.equals("freeze");
        if (!freeze) {
            settings = settings.replace("init: pretrained", "init: pretrained, adapter: " + adapter(fixture, method));
        }
        Files.writeString(job, settings + "method: " + options(method) + "\n");
        try (Commands commands = new Commands(directory);
                TensorSource reference = SafetensorsFile.open(fixture.resolve("reference.safetensors"))) {
            String printed = commands.start("start.sh", "--config", job.toString())
                    .await(Duration.ofSeconds(110))
                    .expect(0)
                    .output();
            assertTrue(printed.contains("trained: "), printed);
            assertEquals(!freeze, printed.contains("training starts from "), printed);
            assertEquals(
                    !freeze,
                    printed.contains("the adapter acts: it changes logits of the base model by up to "),
                    printed);
            float[] losses = reference.readAll("trace/loss");
            float[] norms = reference.readAll("trace/grad_norm");
            List<JsonNode> metrics = Commands.metrics(output);
            assertEquals(losses.length, metrics.size());
            for (int i = 0; i < losses.length; i++) {
                assertEquals(losses[i], metrics.get(i).path("loss").asDouble(), 1e-4 * losses[i], "step " + (i + 1));
                assertEquals(norms[i], metrics.get(i).path("grad_norm").asDouble(), 1e-3 * norms[i], "step " + (i + 1));
            }
            Path made = output.resolve("final");
            try (TensorSource found = freeze ? WeightsDirectory.open(made) : WeightsDirectory.openAdapter(made)) {
                // Of QLoRA the reference keeps the trace only; of a projected prefix ours is what it comes to.
                if (!method.startsWith("qlora") && !method.endsWith("projection")) {
                    int count = FinalWeights.assertEqual("trace/final/", reference, found);
                    assertTrue(count > 0, "the reference has trained parameters");
                }
            }
            assertEquals(!freeze, !Files.exists(made.resolve("model.safetensors")));
        }
    }

    /** The fixtures' prefixes have no configuration file of ours. */
    private Path adapter(Path fixture, String method) throws Exception {
        if (method.contains("lora")) {
            return fixture.resolveSibling(method.replace("qlora", "lora"));
        }
        Path made = Files.createDirectories(directory.resolve("prefix"));
        try (TensorSource prefix = WeightsDirectory.openAdapter(fixture)) {
            AdapterFiles.write(made, new TuningMethod.PTuningV2(8, method.endsWith("projection")), fixture, prefix);
        }
        return made;
    }

    private static String options(String method) {
        return switch (method) {
            case "lora-qkv" -> "{type: lora, rank: 8, alpha: 32, targets: [query_key_value]}";
            case "lora-all" -> "{type: lora, rank: 8, alpha: 32, targets: all}";
            case "qlora-all" -> "{type: qlora, rank: 8, alpha: 32, targets: all}";
            case "ptuning-embedding" -> "{type: p_tuning_v2, prefix_length: 8}";
            case "ptuning-projection" -> "{type: p_tuning_v2, prefix_length: 8, projection: true}";
            default -> "{type: freeze, train: [layers.2.]}";
        };
    }
}
