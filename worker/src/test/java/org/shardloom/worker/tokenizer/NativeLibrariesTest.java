package org.shardloom.worker.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

class NativeLibrariesTest {
    @TempDir
    Path temp;

    @Test
    void cacheIsPrivateAndReused() throws Exception {
        Path wanted = temp.resolve("cache");
        Path made = NativeLibraries.privateDirectory(wanted);
        assertEquals(wanted, made);
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(made)));
        assertEquals(wanted, NativeLibraries.privateDirectory(wanted));
    }

    @Test
    void directoryThatOthersCanWriteIsNotTrusted() throws Exception {
        Path wanted = Files.createDirectory(temp.resolve("cache"));
        Files.setPosixFilePermissions(wanted, PosixFilePermissions.fromString("rwxrwxrwx"));
        assertNotEquals(wanted, NativeLibraries.privateDirectory(wanted));
        Path link = Files.createSymbolicLink(temp.resolve("link"), Files.createDirectory(temp.resolve("target")));
        assertNotEquals(link, NativeLibraries.privateDirectory(link));
    }

    /** Four processes unpack the libraries at once, into an empty cache, with a home of their own that stays empty. */
    @Test
    @Timeout(120)
    void fourProcessesMayStartAtOnceAndLeaveTheHomeAlone() throws Exception {
        Path model = shared("fixtures/stories260k/tokenizer.model");
        Path home = Files.createDirectory(temp.resolve("home"));
        Path cache = temp.resolve("cache");
        List<Process> processes = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            ProcessBuilder builder = new ProcessBuilder(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-Xmx128m",
                    "-Duser.home=" + home,
                    "-D" + NativeLibraries.CACHE_PROPERTY + "=" + cache,
                    "-cp",
                    System.getProperty("surefire.test.class.path", System.getProperty("java.class.path")),
                    Opener.class.getName(),
                    model.toString());
            builder.environment().put("HOME", home.toString());
            builder.environment().remove("XDG_CACHE_HOME");
            builder.redirectErrorStream(true);
            builder.redirectOutput(temp.resolve("out-" + i).toFile());
            processes.add(builder.start());
        }
        try {
            for (int i = 0; i < 4; i++) {
                assertTrue(processes.get(i).waitFor(100, TimeUnit.SECONDS), "process " + i + " did not end");
                String output = Files.readString(temp.resolve("out-" + i));
                assertEquals(0, processes.get(i).exitValue(), output);
                assertTrue(output.contains("opened both"), output);
            }
        } finally {
            processes.forEach(Process::destroyForcibly);
        }
        try (var left = Files.list(home)) {
            assertFalse(left.findAny().isPresent(), "something was written to the user's home");
        }
        assertTrue(Files.isDirectory(cache.resolve("sentencepiece")));
        assertTrue(Files.isDirectory(cache.resolve("tokenizers")));
    }

    /** The main class of the test's child processes. */
    static final class Opener {
        private static final String TINY =
                "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"<unk>\":0,\"a\":1}," + "\"unk_token\":\"<unk>\"}}";

        private Opener() {}

        public static void main(String[] args) throws Exception {
            try (Tokenizer tokenizer = Tokenizers.open(Path.of(args[0]), Family.PLAIN)) {
                tokenizer.encode("Once upon a time");
            }
            Path directory = Files.createTempDirectory("tokenizer-test");
            Files.writeString(directory.resolve("tokenizer.json"), TINY);
            Files.writeString(directory.resolve("tokenizer_config.json"), "{\"eos_token\":\"a\"}");
            try (Tokenizer tokenizer = Tokenizers.open(directory, Family.PLAIN)) {
                System.out.println("opened both " + tokenizer.encode("a").length);
            }
        }
    }
}
