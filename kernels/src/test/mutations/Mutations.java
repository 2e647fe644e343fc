import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectMethod;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.tools.ToolProvider;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/**
 * Makes each change of a list to the sources, compiles the one file aside, and runs tests that must then fail, in a JVM of their own. All of
 * them must pass without a change. Exit status: 0 when every change was noticed, 1 when not, 2 when the list is out of date.
 */
final class Mutations {
    private static final int LIMIT_SECONDS = 60;

    /** A change. */
    private record Entry(String file, String text, String replacement, String tests) {
        String name() {
            return file.substring(file.lastIndexOf('/') + 1) + ": " + text;
        }
    }

    private final Path root;
    private final Path work;

    private Mutations(Path root, Path work) {
        this.root = root;
        this.work = work;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("--tests")) {
            // Without the end of what native threads still do.
            Runtime.getRuntime().halt(runTests(arguments[1]) ? 0 : 1);
        }
        List<String> words = Arrays.asList(arguments).subList(3, arguments.length);
        List<Entry> entries = read(Path.of(arguments[1])).stream()
                .filter(e -> words.isEmpty() || words.stream().anyMatch(word -> e.name().contains(word)))
                .toList();
        System.exit(new Mutations(Path.of(arguments[0]), Path.of(arguments[2])).run(entries));
    }

    private static List<Entry> read(Path list) throws IOException {
        List<Entry> entries = new ArrayList<>();
        String file = "";
        String tests = "";
        for (String line : Files.readAllLines(list)) {
            if (line.startsWith("file ")) {
                file = line.substring(5).strip();
            } else if (line.startsWith("tests ")) {
                tests = line.substring(6).strip();
            } else if (!line.isBlank() && !line.startsWith("#")) {
                String[] parts = line.split("=>", -1);
                entries.add(new Entry(file, parts[0].strip(), parts[1].strip(), tests));
            }
        }
        return entries;
    }

    private int run(List<Entry> entries) throws Exception {
        List<String> sources = new ArrayList<>();
        for (Entry entry : entries) {
            sources.add(changed(entry));
        }
        if (sources.contains(null)) {
            return 2;
        }
        Set<String> all = new LinkedHashSet<>();
        entries.forEach(e -> all.addAll(List.of(e.tests.split(" "))));
        String failed = test(null, String.join(" ", all));
        if (failed != null) {
            System.out.println("without a change: " + failed);
            return 1;
        }
        List<String> survivors = new ArrayList<>();
        for (int i = 0; i < entries.size(); i++) {
            Entry entry = entries.get(i);
            String death = test(compile(entry, sources.get(i), i), entry.tests);
            System.out.println((death == null ? "SURVIVED  " : "killed    ") + entry.name()
                    + (death == null ? "" : "  [" + death + "]"));
            if (death == null) {
                survivors.add(entry.name());
            }
        }
        System.out.println(entries.size() - survivors.size() + " of " + entries.size() + " changes were noticed");
        return survivors.isEmpty() ? 0 : 1;
    }

    /** The file with the change; null, and a message, where it is not there exactly once, white space aside. */
    private String changed(Entry entry) throws IOException {
        String source = Files.readString(root.resolve(entry.file));
        String pattern = Arrays.stream(entry.text.split("\\s+")).map(Pattern::quote).collect(Collectors.joining("\\s+"));
        Matcher matcher = Pattern.compile(pattern).matcher(source);
        if (!matcher.find()) {
            System.out.println("the list is out of date: there is no longer, in " + entry.name());
            return null;
        }
        int from = matcher.start(), to = matcher.end();
        if (matcher.find()) {
            System.out.println("the list is out of date: there is more than once, in " + entry.name());
            return null;
        }
        return source.substring(0, from) + entry.replacement + source.substring(to);
    }

    private Path compile(Entry entry, String source, int number) throws IOException {
        Path directory = Files.createDirectories(work.resolve("change-" + number));
        Path file = Files.writeString(directory.resolve(Path.of(entry.file).getFileName()), source);
        StringWriter messages = new StringWriter();
        int status = ToolProvider.getSystemJavaCompiler()
                        .getTask(
                                new PrintWriter(messages),
                                null,
                                null,
                                List.of("-proc:none", "-nowarn", "-d", directory.toString(),
                                        "-cp", System.getProperty("java.class.path")),
                                null,
                                ToolProvider.getSystemJavaCompiler()
                                        .getStandardFileManager(null, null, null)
                                        .getJavaFileObjects(file))
                        .call()
                ? 0
                : 1;
        if (status != 0) {
            throw new IllegalStateException(entry.name() + " does not compile:\n" + messages);
        }
        return directory;
    }

    /** Null where all pass, else what failed. */
    private String test(Path changed, String tests) throws Exception {
        Path output = work.resolve("output");
        String path = (changed == null ? "" : changed + ":") + System.getProperty("java.class.path");
        Process process = new ProcessBuilder(
                        "java", "--add-opens", "java.base/jdk.internal.misc=ALL-UNNAMED", "-Xmx1g", "-XX:+UseSerialGC",
                        "-XX:TieredStopAtLevel=1", "-Dshardloom.root=" + root,
                        "-Dshardloom.cuda.simulation=" + root.resolve("kernels/target/cuda-simulation"),
                        "-cp", path, "Mutations", "--tests", tests)
                .directory(root.resolve("worker").toFile())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
        if (!process.waitFor(changed == null ? 8 * LIMIT_SECONDS : LIMIT_SECONDS, TimeUnit.SECONDS)) {
            process.destroyForcibly().waitFor();
            return "no end within " + LIMIT_SECONDS + " s";
        }
        if (process.exitValue() == 0) {
            return null;
        }
        return Files.readAllLines(output).stream()
                .filter(line -> line.startsWith("FAILED "))
                .map(line -> line.substring(7))
                .findFirst()
                .orElse("exit status " + process.exitValue());
    }

    /** Classes, or class#method, separated by blanks; whether all pass. Nothing more is run after the first that fails. */
    private static boolean runTests(String names) throws Exception {
        Launcher launcher = LauncherFactory.create();
        for (String name : names.split(" ")) {
            SummaryGeneratingListener summary = new SummaryGeneratingListener();
            launcher.execute(
                    LauncherDiscoveryRequestBuilder.request().selectors(selector(name)).build(), summary);
            if (summary.getSummary().getTestsFoundCount() == 0) {
                throw new IllegalArgumentException("no tests: " + name);
            }
            for (TestExecutionSummary.Failure failure : summary.getSummary().getFailures()) {
                String message = String.valueOf(failure.getException()).lines().findFirst().orElse("");
                System.out.println("FAILED " + name.substring(name.lastIndexOf('.') + 1) + " "
                        + failure.getTestIdentifier().getDisplayName() + ": " + message);
                return false;
            }
        }
        return true;
    }

    private static DiscoverySelector selector(String name) throws ClassNotFoundException {
        String[] parts = name.split("#");
        Class<?> type = Class.forName("org.shardloom." + parts[0]);
        if (parts.length == 1) {
            return selectClass(type);
        }
        for (Method method : type.getDeclaredMethods()) {
            if (method.getName().equals(parts[1])) {
                return selectMethod(type, method);
            }
        }
        throw new IllegalArgumentException("no test: " + name);
    }
}
