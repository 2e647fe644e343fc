package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.kernels.cuda.GpuClaim;
import org.w3c.dom.Node;

/** What the command line says and refuses before anything starts. */
class CommandLineTest {
    @TempDir
    Path directory;

    private final StringWriter out = new StringWriter();
    private final StringWriter error = new StringWriter();

    private int run(String... arguments) {
        out.getBuffer().setLength(0);
        error.getBuffer().setLength(0);
        return Main.run(new PrintWriter(out, true), new PrintWriter(error, true), arguments);
    }

    @Test
    void theVersionIsThatOfTheProject() throws Exception {
        Path pom = Path.of(System.getProperty("shardloom.root"), "pom.xml");
        Node project = DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(pom.toFile())
                .getDocumentElement();
        String version = null;
        for (Node n = project.getFirstChild(); n != null; n = n.getNextSibling()) {
            version = n.getNodeName().equals("version") ? n.getTextContent() : version;
        }
        assertEquals(0, run("--version"));
        assertEquals("shardloom " + version + "\n", out.toString());
    }

    /** Which GPU a worker claims is settled before it looks for its run. */
    @ParameterizedTest
    @ValueSource(strings = {"2", "GPU-73696d75"})
    void aWorkersGpuIsTheOneThatItClaims(String gpu) {
        try {
            assertEquals(2, run("worker", "--join", "127.0.0.1:1", "--secret-file", directory + "/none", "--gpu", gpu));
            assertTrue(error.toString().contains("no readable file"), error.toString());
            assertEquals(gpu, System.getProperty(GpuClaim.CHOICE));
        } finally {
            System.clearProperty(GpuClaim.CHOICE);
        }
    }

    @Test
    void aHostsFileNeedsAnAddressThatTheOthersReachAndRoomForAllWorkers() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path hosts = Files.writeString(directory.resolve("hosts.txt"), "10.99.7.1 2\n10.99.7.2\n");
        assertEquals(2, run("start", "--hosts", hosts.toString()));
        assertTrue(error.toString().contains("add --config FILE"), error.toString());
        assertEquals(1, run("start", "--config", job.toString(), "--hosts", directory + "/nothing.txt"));
        assertTrue(error.toString().contains("nothing.txt: no such file"), error.toString());
        assertEquals(2, run("start", "--config", job.toString(), "--hosts", hosts.toString()));
        assertTrue(error.toString().contains("--set cluster.host=ADDRESS"), error.toString());
        String[] open = {"cluster.host=10.99.7.1", "cluster.insecure=true"};
        assertEquals(
                2,
                run(
                        "start",
                        "--config",
                        job.toString(),
                        "--hosts",
                        hosts.toString(),
                        "--workers",
                        "4",
                        "--set",
                        open[0],
                        "--set",
                        open[1]));
        assertTrue(
                error.toString().contains("4 workers are asked for, but " + hosts + " has room for 3"),
                error.toString());
    }

    @Test
    void aWorkerListensOpenlyOnlyWhenItOrItsJobAllowsIt() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path open = Files.writeString(
                directory.resolve("open.yaml"), Files.readString(job) + "cluster: {insecure: true}\n");
        String refusal = "listening on 10.99.7.2 lets other hosts reach this worker without TLS";
        assertWorkerSays(refusal, "10.99.7.2");
        assertWorkerSays(refusal, "10.99.7.2", "--config", job.toString());
        // Allowed, these get as far as the secret.
        String next = "cannot read the run's secret";
        assertWorkerSays(next, "10.99.7.2", "--config", open.toString());
        assertWorkerSays(next, "10.99.7.2", "--config", job.toString(), "--insecure");
        assertWorkerSays(next, "10.99.7.2", "--insecure");
        assertWorkerSays(next, "127.0.0.1");
        assertWorkerSays(next, "127.0.0.1", "--config", job.toString());
    }

    private void assertWorkerSays(String text, String host, String... more) {
        String secret = directory.resolve("no-secret").toString();
        Stream<String> worker = Stream.of("worker", "--join", "127.0.0.1:1", "--secret-file", secret, "--host", host);
        assertEquals(2, run(Stream.concat(worker, Stream.of(more)).toArray(String[]::new)), error.toString());
        assertTrue(error.toString().contains(text), error.toString());
    }
}
