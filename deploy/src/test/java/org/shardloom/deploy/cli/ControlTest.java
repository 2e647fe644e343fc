package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Commands to a coordinator that does not answer. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class ControlTest {
    @TempDir
    Path directory;

    private static int closedPort() throws Exception {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    @Test
    void aRunThatEndsWhileItIsSpokenToHasEnded() throws Exception {
        Process coordinator = new ProcessBuilder("sleep", "2").start();
        ObjectMapper json = new ObjectMapper();
        Files.writeString(
                directory.resolve("run.json"),
                json.createObjectNode()
                        .put("output_dir", directory.toString())
                        .put(
                                "host",
                                Files.readString(Path.of("/proc/sys/kernel/hostname"))
                                        .strip())
                        .put("pid", coordinator.pid())
                        .put(
                                "started_millis",
                                coordinator.info().startInstant().orElseThrow().toEpochMilli())
                        .put("port", closedPort())
                        .put("token", "token")
                        .put("join", "127.0.0.1:25520")
                        .toString());
        StringWriter error = new StringWriter();
        int status = Main.run(
                new PrintWriter(new StringWriter()),
                new PrintWriter(error, true),
                "stop",
                "--run",
                directory.toString());
        assertTrue(error.toString().contains("the run in " + directory + " has just ended"), error.toString());
        assertEquals(2, status);
    }
}
