package org.shardloom.deploy.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryUsage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** What this process uses, as the kernel tells it. */
final class ProcessUsage {
    private ProcessUsage() {}

    /** Processor time of all threads since the process began. */
    static double cpuSeconds() {
        return ProcessHandle.current()
                        .info()
                        .totalCpuDuration()
                        .orElse(Duration.ZERO)
                        .toNanos()
                * 1e-9;
    }

    /**
     * Resident bytes of anonymous memory (native and the Java heap), of shared memory and of mapped files (libraries, class data);
     * and the committed Java heap, which is part of the first.
     */
    static Map<String, Long> read() {
        Map<String, Long> bytes = new LinkedHashMap<>();
        try {
            for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
                String[] words = line.split("\\s+");
                switch (words[0]) {
                    case "RssAnon:" -> bytes.put("anonymous", Long.parseLong(words[1]) * 1024);
                    case "RssShmem:" -> bytes.put("shared", Long.parseLong(words[1]) * 1024);
                    case "RssFile:" -> bytes.put("files", Long.parseLong(words[1]) * 1024);
                    default -> {
                        // not about resident memory
                    }
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read /proc/self/status", e);
        }
        MemoryUsage heap = ManagementFactory.getMemoryMXBean().getHeapMemoryUsage();
        bytes.put("heap_committed", heap.getCommitted());
        return bytes;
    }
}
