package org.shardloom.deploy.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.OffsetDateTime;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.shardloom.kernels.cpu.NativeCpu;

/** What a benchmark found: facts, and rows of results where there are several. Units are in the names. */
final class Report {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final Map<String, Object> facts = new LinkedHashMap<>();
    private final List<Map<String, Object>> rows = new ArrayList<>();

    /** A report that begins with the benchmark and the machine; made before the measurement, so that its load is not counted. */
    Report(String benchmark) {
        facts.put("benchmark", benchmark);
        facts.put("date", OffsetDateTime.now().truncatedTo(ChronoUnit.SECONDS).toString());
        facts.put("processor", processor());
        facts.put("processors", Runtime.getRuntime().availableProcessors());
        facts.put("instruction_set", instructionSet());
        facts.put("native_bf16", NativeCpu.hasBf16());
        facts.put("load_average_before", loadAverage());
    }

    /** Sets a fact. */
    Report fact(String name, Object value) {
        facts.put(name, value);
        return this;
    }

    /** Adds a row of results; every row has the same names. */
    void row(Map<String, Object> row) {
        rows.add(row);
    }

    /** A row in the order of its names and values. */
    static Map<String, Object> rowOf(Object... namesAndValues) {
        Map<String, Object> row = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            row.put((String) namesAndValues[i], namesAndValues[i + 1]);
        }
        return row;
    }

    String toJson() {
        Map<String, Object> all = new LinkedHashMap<>(facts);
        if (!rows.isEmpty()) {
            all.put("results", rows);
        }
        try {
            return JSON.writerWithDefaultPrettyPrinter().writeValueAsString(all);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a report cannot be written", e);
        }
    }

    String toText() {
        StringBuilder text = new StringBuilder();
        int width = facts.keySet().stream().mapToInt(String::length).max().orElse(0);
        facts.forEach((name, value) ->
                text.append(String.format(Locale.ROOT, "%-" + width + "s  %s%n", name, cell(name, value))));
        if (!rows.isEmpty()) {
            text.append(System.lineSeparator());
            table(text);
        }
        return text.toString().stripTrailing();
    }

    private void table(StringBuilder text) {
        List<String> names = List.copyOf(rows.get(0).keySet());
        List<List<String>> cells = new ArrayList<>();
        cells.add(names);
        rows.forEach(row ->
                cells.add(names.stream().map(name -> cell(name, row.get(name))).toList()));
        int[] widths = new int[names.size()];
        cells.forEach(line -> {
            for (int i = 0; i < widths.length; i++) {
                widths[i] = Math.max(widths[i], line.get(i).length());
            }
        });
        for (List<String> line : cells) {
            StringBuilder out = new StringBuilder();
            for (int i = 0; i < widths.length; i++) {
                boolean number = rows.get(0).get(names.get(i)) instanceof Number;
                out.append(String.format("%" + (number ? "" : "-") + widths[i] + "s  ", line.get(i)));
            }
            text.append(out.toString().stripTrailing()).append(System.lineSeparator());
        }
    }

    private static String cell(String name, Object value) {
        if (value instanceof List<?> list) {
            return String.join(", ", list.stream().map(v -> cell(name, v)).toList());
        }
        if (value instanceof Map<?, ?> map) {
            return String.join(
                    ", ",
                    map.entrySet().stream()
                            .map(e -> e.getKey() + " " + cell((String) e.getKey(), e.getValue()))
                            .toList());
        }
        if (value instanceof Number n && name.endsWith("bytes_per_second")) {
            return String.format(Locale.ROOT, "%.3f GB/s", n.doubleValue() / 1e9);
        }
        if (value instanceof Number n && name.endsWith("bytes")) {
            return String.format(Locale.ROOT, "%.1f MB", n.doubleValue() / 1e6);
        }
        if (value instanceof Double d) {
            return String.format(Locale.ROOT, Math.abs(d) < 0.1 ? "%.6f" : Math.abs(d) < 100 ? "%.3f" : "%.1f", d);
        }
        return String.valueOf(value);
    }

    private static String instructionSet() {
        return switch (NativeCpu.instructionSet()) {
            case 0 -> "baseline";
            case 1 -> "avx2";
            case 2 -> "avx512";
            default -> "amx";
        };
    }

    private static String processor() {
        try {
            return Files.readAllLines(Path.of("/proc/cpuinfo")).stream()
                    .filter(line -> line.startsWith("model name"))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse("unknown");
        } catch (IOException e) {
            return "unknown";
        }
    }

    private static double loadAverage() {
        return Math.max(
                0,
                java.lang.management.ManagementFactory.getOperatingSystemMXBean()
                        .getSystemLoadAverage());
    }
}
