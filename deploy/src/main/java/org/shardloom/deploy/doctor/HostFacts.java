package org.shardloom.deploy.doctor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;

/**
 * What Linux says of this host. Numbers are bytes unless they count something.
 *
 * @param availableMemory that new processes can have without swapping, within this process's control group
 * @param freeSwap besides
 * @param sharedMemory size of /dev/shm; absent where there is none
 * @param lockedMemory limit of a process (ulimit -l); Long.MAX_VALUE: none
 * @param openFiles limit of a process (ulimit -n), a count
 * @param coreFile limit of a core file (ulimit -c)
 * @param page size
 * @param hugePages when the kernel gives transparent huge pages: always, madvise or never; empty where it does not say
 */
public record HostFacts(
        long availableMemory,
        long freeSwap,
        OptionalLong sharedMemory,
        long lockedMemory,
        long openFiles,
        long coreFile,
        long page,
        String hugePages) {
    /** Of the host that this process runs on. */
    public static HostFacts read() {
        return read(Path.of("/"));
    }

    /** Of the files of another root: for tests. */
    static HostFacts read(Path root) {
        Map<String, Long> memory = kilobytes(root.resolve("proc/meminfo"));
        long available = memory.getOrDefault("MemAvailable", Long.MAX_VALUE);
        Map<String, Long> limits = limits(root.resolve("proc/self/limits"));
        return new HostFacts(
                Math.min(available, groupAvailable(root).orElse(Long.MAX_VALUE)),
                memory.getOrDefault("SwapFree", 0L),
                sizeOf(root.resolve("dev/shm")),
                limits.getOrDefault("Max locked memory", Long.MAX_VALUE),
                limits.getOrDefault("Max open files", Long.MAX_VALUE),
                limits.getOrDefault("Max core file size", 0L),
                pageSize(root.resolve("proc/self/smaps")),
                chosen(text(root.resolve("sys/kernel/mm/transparent_hugepage/enabled"))));
    }

    /** Of the first mapping; there are thousands. */
    private static long pageSize(Path file) {
        try (Stream<String> lines = Files.lines(file)) {
            return lines.limit(40)
                    .filter(line -> line.matches("KernelPageSize: +\\d+ kB"))
                    .mapToLong(line -> Long.parseLong(line.split("\\s+")[1]) * 1024)
                    .findFirst()
                    .orElse(4096);
        } catch (IOException | UncheckedIOException e) {
            return 4096;
        }
    }

    /** Lines such as "MemAvailable:   24209952 kB". */
    private static Map<String, Long> kilobytes(Path file) {
        Map<String, Long> found = new HashMap<>();
        for (String line : lines(file)) {
            String[] words = line.split("\\s+");
            if (words.length == 3 && words[2].equals("kB") && words[0].endsWith(":")) {
                found.put(words[0].substring(0, words[0].length() - 1), Long.parseLong(words[1]) * 1024);
            }
        }
        return found;
    }

    /** Lines such as "Max locked memory         8388608              8388608              bytes": the limit that acts. */
    private static Map<String, Long> limits(Path file) {
        Map<String, Long> found = new HashMap<>();
        for (String line : lines(file)) {
            String[] columns = line.strip().split("\\s{2,}");
            if (columns.length >= 3 && columns[1].matches("\\d+|unlimited")) {
                found.put(columns[0], columns[1].equals("unlimited") ? Long.MAX_VALUE : Long.parseLong(columns[1]));
            }
        }
        return found;
    }

    /** What the control group (version 2) leaves, as containers have it; files that are cached can go. */
    private static OptionalLong groupAvailable(Path root) {
        Optional<String> own = lines(root.resolve("proc/self/cgroup")).stream()
                .filter(line -> line.startsWith("0::/"))
                .map(line -> line.substring(4))
                .findFirst();
        long least = Long.MAX_VALUE;
        Path top = root.resolve("sys/fs/cgroup");
        for (Path group = top.resolve(own.orElse(""));
                group != null && group.startsWith(top);
                group = group.getParent()) {
            String most = text(group.resolve("memory.max"));
            String current = text(group.resolve("memory.current"));
            if (most.matches("\\d+") && current.matches("\\d+")) {
                long cached = lines(group.resolve("memory.stat")).stream()
                        .filter(line -> line.matches("(in)?active_file \\d+"))
                        .mapToLong(line -> Long.parseLong(line.split(" ")[1]))
                        .sum();
                least = Math.min(least, Math.max(0, Long.parseLong(most) - Long.parseLong(current) + cached));
            }
        }
        return least == Long.MAX_VALUE ? OptionalLong.empty() : OptionalLong.of(least);
    }

    private static OptionalLong sizeOf(Path directory) {
        try {
            return Files.isDirectory(directory)
                    ? OptionalLong.of(Files.getFileStore(directory).getTotalSpace())
                    : OptionalLong.empty();
        } catch (IOException e) {
            return OptionalLong.empty();
        }
    }

    /** "always [madvise] never" */
    private static String chosen(String text) {
        int from = text.indexOf('[');
        int to = text.indexOf(']');
        return from >= 0 && to > from ? text.substring(from + 1, to) : "";
    }

    private static String text(Path file) {
        return String.join("\n", lines(file)).strip();
    }

    private static List<String> lines(Path file) {
        try {
            return Files.readAllLines(file);
        } catch (IOException e) {
            return List.of();
        }
    }
}
