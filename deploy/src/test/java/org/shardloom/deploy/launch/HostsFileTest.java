package org.shardloom.deploy.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.launch.HostsFile.Host;

class HostsFileTest {
    @TempDir
    Path directory;

    private Path file(String text) throws IOException {
        return Files.writeString(directory.resolve("hosts"), text);
    }

    private void refused(String text, String why) throws IOException {
        Path file = file(text);
        String message =
                assertThrows(IOException.class, () -> HostsFile.read(file)).getMessage();
        assertTrue(message.contains(why) && message.contains(file.toString()), message);
    }

    @Test
    void aLineHasAnAddressAndANumberOfWorkers() throws IOException {
        HostsFile hosts = HostsFile.read(file("# ours\n10.0.0.1 2\n\n  gpu-2   # one\n"));
        assertEquals(List.of(new Host("10.0.0.1", 2), new Host("gpu-2", 1)), hosts.hosts());
        assertEquals(3, hosts.workers());
    }

    @Test
    void whatIsNotSoIsNamedWithItsLine() throws IOException {
        refused("10.0.0.1 2\n10.0.0.2 none\n", "hosts:2: the number of workers");
        refused("10.0.0.1 0\n", "hosts:1: the number of workers");
        refused("a b c\n", "hosts:1: expected an address");
        refused("-oProxyCommand=x\n", "hosts:1: expected an address");
        refused("a\nb\na 2\n", "hosts:3: a stands there twice");
        refused("localhost 2\n", "hosts:1: localhost is not an address");
        refused("me@gpu\n", "hosts:1: me@gpu is not an address");
        refused("# nobody\n", "names no host");
        assertThrows(IOException.class, () -> HostsFile.read(directory.resolve("nothing")));
    }
}
