package org.shardloom.deploy.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The log of a run that goes on without a terminal. What is written first lands in a temporary file, which start.sh reads; once the run
 * has its output directory, the log is there, and the temporary file has no name any more, so that none is left however the run ends.
 */
final class DetachedLog {
    private static final Logger LOG = LoggerFactory.getLogger(DetachedLog.class);
    /** start.sh reads no further than the beginning of training; what has no name should not grow. */
    private static final long READ_BYTES = 1 << 20;

    private final Path temporary;
    private OutputStream kept;
    private long written;

    private DetachedLog(Path temporary) {
        this.temporary = temporary;
    }

    /** Standard output and error go to that file already; from now on they may be sent elsewhere, too. */
    static DetachedLog install(Path temporary) {
        DetachedLog log = new DetachedLog(temporary);
        System.setOut(log.through(System.out));
        System.setErr(log.through(System.err));
        return log;
    }

    private PrintStream through(PrintStream first) {
        return new PrintStream(new Copies(first), true, StandardCharsets.UTF_8);
    }

    /** From now on the log is start.log in that directory, with all that was written so far. */
    synchronized void keepIn(Path logs) {
        try {
            Path file = Files.createDirectories(logs).resolve("start.log");
            Files.write(file, Files.readAllBytes(temporary));
            kept = Files.newOutputStream(file, StandardOpenOption.APPEND);
            Files.delete(temporary);
        } catch (IOException e) {
            LOG.warn("the log stays in {}: {}", temporary, e.toString());
        }
    }

    private synchronized void write(PrintStream first, byte[] bytes, int from, int count) throws IOException {
        if (kept == null || written < READ_BYTES) {
            first.write(bytes, from, count);
            first.flush();
        }
        if (kept != null) {
            written += count;
            kept.write(bytes, from, count);
        }
    }

    private final class Copies extends OutputStream {
        private final PrintStream first;

        Copies(PrintStream first) {
            this.first = first;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int from, int count) throws IOException {
            DetachedLog.this.write(first, bytes, from, count);
        }
    }
}
