package org.shardloom.kernels.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The text of the kernels as it ships: one file that includes others.
 *
 * @param main the file that includes the rest
 * @param headers the rest, by the names by which they are included
 */
record KernelSources(String main, Map<String, String> headers) {
    private static final Pattern INCLUDE = Pattern.compile("^#include \"(.+)\"$", Pattern.MULTILINE);

    /** Beside the classes of this package. */
    static KernelSources shipped() {
        Map<String, String> headers = new LinkedHashMap<>();
        String main = text("kernels.cu");
        collect(main, headers);
        return new KernelSources(main, headers);
    }

    private static void collect(String text, Map<String, String> headers) {
        Matcher include = INCLUDE.matcher(text);
        while (include.find()) {
            String name = include.group(1);
            // The simulation's is for tests: no compiler for a GPU reaches that line.
            if (!name.equals("simulation.h") && !headers.containsKey(name)) {
                String included = text(name);
                headers.put(name, included);
                collect(included, headers);
            }
        }
    }

    private static String text(String name) {
        try (InputStream in = KernelSources.class.getResourceAsStream(name)) {
            if (in == null) {
                throw new IllegalStateException("the kernels' source " + name + " is not in the jar");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
