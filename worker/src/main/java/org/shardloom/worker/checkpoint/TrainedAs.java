package org.shardloom.worker.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.JobConfig;

/**
 * How conversations were laid out in training, so that whoever uses the result lays them out alike: {@code shardloom.json} beside the
 * weights. Other programs have no use for it and let it be.
 *
 * @param template of the job; {@code auto}: the model's own
 * @param tokenizer of the job, where it does not lie beside the weights; else null
 */
public record TrainedAs(DataConfig.Template template, Path tokenizer) {
    private static final String FILE = "shardloom.json", TEMPLATE = "template", TOKENIZER = "tokenizer";
    private static final ObjectMapper JSON = new ObjectMapper();

    /** What the job says; empty where it trains on tokens, whose layout nobody knows. */
    public static Optional<TrainedAs> of(JobConfig job) {
        return job.data().format() == DataConfig.Format.PRETOKENIZED
                ? Optional.empty()
                : Optional.of(new TrainedAs(job.data().template(), job.tokenizer()));
    }

    /** For a directory that has the tokenizer's files. */
    public TrainedAs withTokenizerBeside() {
        return new TrainedAs(template, null);
    }

    void write(Path directory) throws IOException {
        ObjectNode json = JSON.createObjectNode().put(TEMPLATE, template.name().toLowerCase(Locale.ROOT));
        if (tokenizer != null) {
            json.put(TOKENIZER, tokenizer.toAbsolutePath().toString());
        }
        Files.write(
                directory.resolve(FILE), JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(json));
    }

    /**
     * What the directory says, if it says anything.
     *
     * @throws IOException with the file, when it is not as this program writes it
     */
    public static Optional<TrainedAs> read(Path directory) throws IOException {
        Path file = directory.resolve(FILE);
        if (!Files.isRegularFile(file)) {
            return Optional.empty();
        }
        try {
            JsonNode json = JSON.readTree(Files.readAllBytes(file));
            String name = json.path(TEMPLATE).asText("");
            String tokenizer = json.path(TOKENIZER).asText("");
            return Optional.of(new TrainedAs(
                    DataConfig.Template.valueOf(name.toUpperCase(Locale.ROOT)),
                    tokenizer.isEmpty() ? null : Path.of(tokenizer)));
        } catch (JsonProcessingException | IllegalArgumentException e) {
            throw new IOException(file + " does not name a template as this program writes it: " + e.getMessage());
        }
    }
}
