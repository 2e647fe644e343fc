package org.shardloom.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The list of waits that {@code src/test/mutations/run.sh} takes out is that of the sources. */
class WaitsListTest {
    private static final Path ROOT = Path.of(System.getProperty("shardloom.root", ".."));
    private static final Path LIST = ROOT.resolve("kernels/src/test/mutations/waits.txt");
    private static final Pattern DRIVER_WAIT =
            Pattern.compile("JCudaDriver\\.(cuStreamWaitEvent|cuEventSynchronize|cu(Ctx|Stream)Synchronize)");

    private static final Pattern WAIT = Pattern.compile("\\.await\\(\\)");

    @Test
    void everyWaitOfTheListStandsInItsFileOnce() throws IOException {
        String file = "";
        int entries = 0;
        for (String line : Files.readAllLines(LIST)) {
            if (line.startsWith("file ")) {
                file = line.substring(5).strip();
            } else if (!line.isBlank() && !line.startsWith("#") && !line.startsWith("tests ")) {
                String text = line.split("=>", -1)[0].strip();
                String pattern =
                        Arrays.stream(text.split("\\s+")).map(Pattern::quote).collect(Collectors.joining("\\s+"));
                String source = Files.readString(ROOT.resolve(file));
                assertEquals(
                        1, Pattern.compile(pattern).matcher(source).results().count(), text + " in " + file);
                entries++;
            }
        }
        assertTrue(entries > 50, entries + " entries");
    }

    /** But for memory that is given back: there is nothing left to read. */
    @Test
    void everyFileThatHasTheDriverWaitIsInTheList() throws IOException {
        String list = Files.readString(LIST);
        Set<String> missing = new TreeSet<>();
        try (Stream<Path> files = Files.walk(ROOT.resolve("kernels/src/main/java"))) {
            for (Path file : files.filter(f -> f.toString().endsWith(".java")).toList()) {
                String name = file.getFileName().toString();
                if (DRIVER_WAIT.matcher(Files.readString(file)).find() && !list.contains("/" + name)) {
                    missing.add(name);
                }
            }
        }
        assertEquals(Set.of("PinnedPages.java"), missing);
    }

    /** Of the engine's waits none is left out; those for shared memory, and for what waits itself, are no waits for a stream. */
    @Test
    void everyWaitOfTheEngineIsInTheList() throws IOException {
        Map<String, Long> listed = new TreeMap<>();
        String file = "";
        for (String line : Files.readAllLines(LIST)) {
            if (line.startsWith("file ")) {
                file = line.substring(5).strip();
            } else {
                listed.merge(
                        file, WAIT.matcher(line.split("=>", -1)[0]).results().count(), Long::sum);
            }
        }
        Map<String, Long> missing = new TreeMap<>();
        for (String room : List.of("zero", "optim")) {
            try (Stream<Path> files = Files.list(ROOT.resolve("worker/src/main/java/org/shardloom/worker/" + room))) {
                for (Path source : files.toList()) {
                    String name = "worker/src/main/java/org/shardloom/worker/" + room + "/" + source.getFileName();
                    long more =
                            WAIT.matcher(Files.readString(source)).results().count() - listed.getOrDefault(name, 0L);
                    if (more != 0) {
                        missing.put(source.getFileName().toString(), more);
                    }
                }
            }
        }
        assertEquals(Map.of("InPlaceParameters.java", 1L, "MicroBatchPass.java", 1L), missing);
    }
}
