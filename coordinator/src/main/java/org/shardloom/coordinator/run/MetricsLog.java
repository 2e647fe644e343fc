package org.shardloom.coordinator.run;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
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

    /** Appends to the file; a line that a killed run left unfinished stays a line of its own. */
    public MetricsLog(Path file) throws IOException {
        boolean unfinished = endsWithin(file);
        channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        channel.position(channel.size());
        if (unfinished) {
            pending.add(new byte[] {'\n'});
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
        m.workerHostMemoryPeakBytes().forEach(json.putArray("worker_host_memory_peak_bytes")::add);
        ObjectNode phases = json.putObject("phase_seconds");
        m.phaseSeconds().forEach(phases::put);
        if (m.evaluation() != null) {
            json.put("eval_loss", number(m.evaluation().loss()));
            json.put("eval_perplexity", number(m.evaluation().perplexity()));
            json.put("eval_seconds", m.evaluation().seconds());
            m.evaluation().scores().forEach((name, value) -> json.put("eval_" + name.replace('-', '_'), value));
            if (!m.evaluation().answers().isEmpty()) {
                json.put("eval_empty_answers", m.evaluation().emptyAnswers());
            }
        }
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
