package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.deploy.e2e.Commands.Running;

/** Two network namespaces, each with an address of its own, as two hosts: tensors over Aeron, the link cut and healed. */
class TwoHostsIT {
    private static final Duration LIMIT = Duration.ofSeconds(90);
    private static final String PID = String.valueOf(ProcessHandle.current().pid());
    private static final String FIRST = "sl" + PID + "a";
    private static final String SECOND = "sl" + PID + "b";
    private static final String LINK = "v" + PID;

    @TempDir
    Path directory;

    @BeforeEach
    void makeHosts() throws Exception {
        boolean permitted = ip("netns", "add", FIRST) && ip("netns", "add", SECOND);
        if (!permitted) {
            System.err.println(
                    "*** SKIPPED: network namespaces cannot be made here (root and iproute2 are needed) ***");
        }
        assumeTrue(permitted, "no network namespaces");
        assertTrue(ip(
                "link",
                "add",
                LINK + "a",
                "netns",
                FIRST,
                "type",
                "veth",
                "peer",
                "name",
                LINK + "b",
                "netns",
                SECOND));
        setUp(FIRST, LINK + "a", "10.99.7.1/24");
        setUp(SECOND, LINK + "b", "10.99.7.2/24");
    }

    private static void setUp(String host, String link, String address) throws Exception {
        assertTrue(ip("-n", host, "addr", "add", address, "dev", link));
        assertTrue(ip("-n", host, "link", "set", link, "up"));
        assertTrue(ip("-n", host, "link", "set", "lo", "up"));
    }

    @AfterEach
    void removeHosts() throws Exception {
        ip("netns", "del", FIRST);
        ip("netns", "del", SECOND);
    }

    private static boolean ip(String... arguments) throws InterruptedException {
        try {
            List<String> line = new java.util.ArrayList<>(List.of("ip"));
            line.addAll(List.of(arguments));
            return new ProcessBuilder(line).redirectErrorStream(true).start().waitFor() == 0;
        } catch (IOException e) {
            return false;
        }
    }

    @Test
    @Timeout(value = 300, unit = TimeUnit.SECONDS)
    void trainingGoesOnWhenTheLinkIsCutAndTakesTheOtherHostBackWhenItIsHealed() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
        Path output = directory.resolve("output");
        Path calm = directory.resolve("calm");
        String[] common = {
            "--config", job.toString(), "--set", "train.max_steps=400", "--set", "checkpoint.every_steps=20"
        };
        try (CleanRoom room = new CleanRoom(directory)) {
            room.start("start.sh", with(common, "--set", "output_dir=" + calm))
                    .await(LIMIT)
                    .expect(0);
            Running run = room.startIn(
                    List.of("ip", "netns", "exec", FIRST, "env", "SHARDLOOM_LOG=INFO"),
                    "start.sh",
                    with(
                            common,
                            "--set",
                            "cluster.host=10.99.7.1",
                            "--set",
                            "cluster.insecure=true",
                            "--set",
                            "cluster.lost_after_seconds=4",
                            "--set",
                            "train.min_step_seconds=0.15"));
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("step").asInt() >= 2);

            Running remote = join(room, output);
            JsonNode together = Commands.awaitMetrics(
                    output,
                    LIMIT,
                    run,
                    m -> m.path("workers").asInt() == 2 && m.path("step").asInt() > 25);
            String log = Files.readString(output.resolve("logs/worker-0.log"));
            assertTrue(ip("-n", FIRST, "link", "set", LINK + "a", "down"));
            Commands.awaitMetrics(
                    output,
                    LIMIT,
                    run,
                    m -> m.path("generation").asLong()
                            > together.path("generation").asLong());
            assertEquals(1, remote.await(LIMIT).status(), "the cut-off worker ends by itself");

            assertTrue(ip("-n", FIRST, "link", "set", LINK + "a", "up"));
            Running back = join(room, output);
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("workers").asInt() == 3);
            // Three ranks over Aeron on one small machine are slow: a few steps together are enough.
            Thread.sleep(3000);
            room.startIn(List.of("ip", "netns", "exec", FIRST), "stop.sh", "--run", output.toString())
                    .await(LIMIT)
                    .expect(0);
            run.await(LIMIT).expect(0);
            back.await(LIMIT).expect(0);
            assertTrue(log.contains("rank 0 of 2 exchanges tensors over Aeron") && !log.contains("Exception"), log);

            double[] expected = Commands.losses(calm);
            double[] actual = Commands.losses(output);
            assertTrue(actual.length > 45, actual.length + " steps");
            for (int i = 0; i < actual.length; i++) {
                assertEquals((float) expected[i], (float) actual[i], "loss of step " + (i + 1));
            }
            room.assertNothingLeft(output);
        }
    }

    /** ssh is played by a script that enters the other namespace: what it is called with is what a real one would be. */
    @Test
    @Timeout(value = 200, unit = TimeUnit.SECONDS)
    void workersOfAHostsFileStartThroughSshAndEndWithAKilledCoordinator() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
        Path output = directory.resolve("output");
        Path programs = Files.createDirectories(directory.resolve("bin"));
        Path ssh = Files.writeString(
                programs.resolve("ssh"),
                "#!/bin/sh\n[ \"$2 $3 $8\" = \"-o BatchMode=yes 10.99.7.2\" ] || exit 7\nexec ip netns exec " + SECOND
                        + " sh -c \"$9\"\n");
        assertTrue(ssh.toFile().setExecutable(true));
        Path hosts = Files.writeString(directory.resolve("hosts"), "10.99.7.1 1\n10.99.7.2 1\n");
        try (CleanRoom room = new CleanRoom(directory)) {
            Running run = room.startIn(
                    List.of("ip", "netns", "exec", FIRST, "env", "PATH=" + programs + ":" + System.getenv("PATH")),
                    "start.sh",
                    "--config",
                    job.toString(),
                    "--hosts",
                    hosts.toString(),
                    "--set",
                    "cluster.host=10.99.7.1",
                    "--set",
                    "cluster.insecure=true",
                    "--set",
                    "train.max_steps=1000");
            Commands.awaitMetrics(output, LIMIT, run, m -> m.path("step").asInt() >= 3);
            assertEquals(2, Commands.metrics(output).get(0).path("workers").asInt());
            assertEquals(
                    2,
                    Commands.processesOf(directory).stream()
                            .filter(TwoHostsIT::isWorker)
                            .count());
            run.process()
                    .descendants()
                    .filter(p -> Commands.commandLine(p).contains("cli.Main start"))
                    .forEach(ProcessHandle::destroyForcibly);
            run.await(LIMIT);
            room.assertNoProcesses();
            // Not only the cluster's finding, seconds later: the connection's end.
            String log = Files.readString(output.resolve("logs/worker-1.log"));
            assertTrue(log.contains("the coordinator's process is gone"), log);
        }
    }

    private static boolean isWorker(ProcessHandle process) {
        return Commands.commandLine(process).contains("cli.Main worker");
    }

    private static String[] with(String[] first, String... more) {
        String[] all = java.util.Arrays.copyOf(first, first.length + more.length);
        System.arraycopy(more, 0, all, first.length, more.length);
        return all;
    }

    private static Running join(CleanRoom room, Path output) throws IOException {
        String address = new ObjectMapper()
                .readTree(output.resolve("run.json").toFile())
                .path("join")
                .asText();
        return room.startIn(
                List.of("ip", "netns", "exec", SECOND),
                "start.sh",
                "--role",
                "worker",
                "--join",
                address,
                "--secret-file",
                output.resolve("run.secret").toString(),
                "--host",
                "10.99.7.2",
                "--insecure");
    }
}
