package org.shardloom.coordinator.run;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * metrics.jsonl: one JSON object per optimizer step, appended as steps end. A line that does not fit on the disk is kept, and written
 * whole with the next one or at the end. One thread.
 */
public final class MetricsLog implements AutoCloseable {
    private final ObjectMapper mapper = new ObjectMapper();
    private final FileChannel channel;
    private final Deque<byte[]> pending = new ArrayDeque<>();

    /** Appends to the file. */
    public MetricsLog(Path file) throws IOException {
        channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        channel.position(channel.size());
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
        pending.add((mapper.writeValueAsString(json) + "\n").getBytes(StandardCharsets.UTF_8));
        flush();
    }

    private void flush() throws IOException {
        while (!pending.isEmpty()) {
            long start = channel.position();
            try {
                ByteBuffer line = ByteBuffer.wrap(pending.peek());
                while (line.hasRemaining()) {
                    channel.write(line);
                }
            } catch (IOException e) {
                channel.truncate(start);
                throw e;
            }
            pending.remove();
        }
    }

    @Override
    public void close() throws IOException {
        try (channel) {
            flush();
        }
    }
}
