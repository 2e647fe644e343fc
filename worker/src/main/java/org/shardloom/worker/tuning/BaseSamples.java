package org.shardloom.worker.tuning;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;

/**
 * Some weights of the model that an adapter or prefix was trained on, from that model's own files, in {@code base_model.json} beside it:
 * ChatGLM2-6B and ChatGLM3-6B have the same tensors in the same sizes, and nothing else tells one from the other. Values are compared
 * with room for 16-bit rounding, so that copies of a model in other dtypes are that model. peft knows no such file and lets it be.
 *
 * @param model where it was
 * @param values by tensor and index of the element
 */
public record BaseSamples(Path model, Map<String, Map<Long, Float>> values) {
    private static final String FILE = "base_model.json", MODEL = "model", SAMPLES = "samples";
    /** Of a model at least; of each of its matrices one. */
    private static final int SAMPLES_OF_A_MODEL = 64;
    /** Two roundings to bf16, whose numbers have eight bits, and what is next to nothing in fp16. */
    private static final float RELATIVE = 0x1p-7f, ABSOLUTE = 0x1p-24f;

    private static final double GOLDEN = 0.6180339887498949;
    private static final ObjectMapper JSON = new ObjectMapper();

    /**
     * Takes samples of every matrix.
     *
     * @param files the model's own, as they are
     * @param units of the model
     */
    public static BaseSamples of(Path model, List<UnitSpec> units, TensorSource files) throws IOException {
        List<String> names = units.stream()
                .flatMap(u -> u.parameters().values().stream())
                .filter(p -> !p.kind().isVector())
                .flatMap(p -> p.sources().stream())
                .map(ParameterSpec.Source::name)
                .distinct()
                .toList();
        int each = (SAMPLES_OF_A_MODEL + names.size() - 1) / names.size();
        Map<String, Map<Long, Float>> values = new LinkedHashMap<>();
        int drawn = 0;
        for (String name : names) {
            long count = files.info(name).elementCount();
            Map<Long, Float> own = new TreeMap<>();
            for (int i = 0; i < each; i++) {
                // Spread over the matrix, and elsewhere in the next.
                double place = ++drawn * GOLDEN;
                long element = Math.min((long) ((place - Math.floor(place)) * count), count - 1);
                float value = read(files, name, element);
                if (Float.isFinite(value)) {
                    own.put(element, value);
                }
            }
            values.put(name, own);
        }
        return new BaseSamples(model, values);
    }

    private static float read(TensorSource files, String name, long element) throws IOException {
        FloatBuffer one = FloatBuffer.allocate(1);
        files.read(name, element, one);
        return one.get(0);
    }

    /** Writes them beside the adapter. */
    public void write(Path directory) throws IOException {
        ObjectNode json = JSON.createObjectNode().put(MODEL, model.toString());
        ObjectNode samples = json.putObject(SAMPLES);
        values.forEach((name, own) -> {
            ObjectNode tensor = samples.putObject(name);
            own.forEach((element, value) -> tensor.put(element.toString(), value));
        });
        Files.write(
                directory.resolve(FILE), JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(json));
    }

    /**
     * What lies beside an adapter; empty where it was made by another program.
     *
     * @throws IOException with the file, when it is not as this program writes it
     */
    public static Optional<BaseSamples> read(Path directory) throws IOException {
        Path file = directory.resolve(FILE);
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        try {
            JsonNode json = JSON.readTree(Files.readAllBytes(file));
            Map<String, Map<Long, Float>> values = new LinkedHashMap<>();
            for (Map.Entry<String, JsonNode> tensor : json.path(SAMPLES).properties()) {
                Map<Long, Float> own = new TreeMap<>();
                for (Map.Entry<String, JsonNode> sample : tensor.getValue().properties()) {
                    own.put(Long.valueOf(sample.getKey()), sample.getValue().floatValue());
                }
                values.put(tensor.getKey(), own);
            }
            return Optional.of(new BaseSamples(Path.of(json.path(MODEL).asText("")), values));
        } catch (JsonProcessingException | IllegalArgumentException e) {
            throw new IOException(file + " is not as this program writes it: "
                    + e.getMessage().lines().findFirst().orElse(""));
        }
    }

    /**
     * Compares a model with the one that an adapter was trained on, where that is known.
     *
     * @param adapter its directory
     * @param base the model's own files
     * @param directory where they are
     * @throws TuningException in one line, when the model is another
     */
    public static void requireSame(Path adapter, TensorSource base, Path directory) throws IOException {
        Optional<BaseSamples> known = read(adapter);
        if (known.isEmpty()) {
            return;
        }
        int all = 0;
        int others = 0;
        String first = "";
        for (Map.Entry<String, Map<Long, Float>> tensor : known.get().values.entrySet()) {
            for (Map.Entry<Long, Float> sample : tensor.getValue().entrySet()) {
                String name = tensor.getKey();
                TensorInfo info = base.tensors().get(name);
                boolean there = info != null && sample.getKey() < info.elementCount();
                float found = there ? read(base, name, sample.getKey()) : Float.NaN;
                all++;
                if (!isSame(sample.getValue(), found)) {
                    first = others++ > 0
                            ? first
                            : name + "[" + sample.getKey() + "] is " + found + ", was " + sample.getValue();
                }
            }
        }
        if (others > 0) {
            throw new TuningException(adapter + " was trained on the model in " + known.get().model
                    + ", and the weights in " + directory + " are another's, though of the same shape: " + others
                    + " of "
                    + all + " samples differ (" + first
                    + "); name the adapter's own model with --base, or model.path in"
                    + " a job, or remove " + adapter.resolve(FILE) + " to use it on this one all the same");
        }
    }

    private static boolean isSame(float was, float found) {
        return Math.abs(was - found) <= RELATIVE * Math.max(Math.abs(was), Math.abs(found)) + ABSOLUTE;
    }
}
