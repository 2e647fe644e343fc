package org.shardloom.coordinator.run;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** metrics.jsonl: one JSON object per optimizer step, appended and flushed as steps end. */
public final class MetricsLog implements AutoCloseable {
    private final ObjectMapper mapper = new ObjectMapper();
    private final BufferedWriter writer;

    /** Appends to the file. */
    public MetricsLog(Path file) throws IOException {
        writer = Files.newBufferedWriter(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    public void append(StepMetrics m) throws IOException {
        ObjectNode json = mapper.createObjectNode()
                .put("step", m.step())
                .put("epoch", m.epoch())
                .put("loss", m.loss())
                .put("grad_norm", m.gradNorm())
                .put("applied", m.applied())
                .put("learning_rate", m.learningRate())
                .put("tokens", m.tokens())
                .put("tokens_per_second", m.tokensPerSecond())
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
