package org.shardloom.coordinator.run;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** metrics.jsonl: one JSON object per optimizer step, appended and flushed as steps end. */
public final class MetricsLog implements AutoCloseable {
    private final ObjectMapper mapper = new ObjectMapper();
    private final BufferedWriter writer;

    /** Appends to the file; a line that a killed run left unfinished stays a line of its own. */
    public MetricsLog(Path file) throws IOException {
        boolean unfinished = endsWithin(file);
        writer = Files.newBufferedWriter(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        if (unfinished) {
            writer.newLine();
        }
    }

    private static boolean endsWithin(Path file) throws IOException {
        if (!Files.exists(file) || Files.size(file) == 0) {
            return false;
        }
        try (RandomAccessFile bytes = new RandomAccessFile(file.toFile(), "r")) {
            bytes.seek(bytes.length() - 1);
            return bytes.read() != '\n';
        }
    }

    /** A number, or null where there is none: JSON knows neither NaN nor infinity. */
    private static Double number(double value) {
        return Double.isFinite(value) ? value : null;
    }

    /** Writes the step's line. */
    public void append(StepMetrics m) throws IOException {
        ObjectNode json = mapper.createObjectNode()
                .put("step", m.step())
                .put("epoch", number(m.epoch()))
                .put("loss", number(m.loss()))
                .put("grad_norm", number(m.gradNorm()))
                .put("applied", m.applied())
                .put("learning_rate", m.learningRate())
                .put("tokens", m.tokens())
                .put("tokens_per_second", number(m.tokensPerSecond()))
                .put("workers", m.workers())
                .put("generation", m.generation())
                .put("seconds", m.seconds())
                .put("device_memory_peak_bytes", m.deviceMemoryPeakBytes())
                .put("host_memory_peak_bytes", m.hostMemoryPeakBytes());
        ObjectNode phases = json.putObject("phase_seconds");
        m.phaseSeconds().forEach(phases::put);
        writer.write(mapper.writeValueAsString(json));
        writer.newLine();
        writer.flush();
    }

    @Override
    public void close() throws IOException {
        writer.close();
    }
}
