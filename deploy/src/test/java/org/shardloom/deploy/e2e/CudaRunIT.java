package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.DisabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.deploy.e2e.Commands.Running;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.DriverProbe;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.TensorSource;

/**
 * {@code start.sh --device cuda} with a process for every simulated GPU: driver, cuBLAS and NCCL are the simulation's, found on
 * LD_LIBRARY_PATH, and report what faults they have seen. In profile {@code gpu} runs that need no faults on demand are on this host's
 * GPUs instead, where there are enough; otherwise no GPU takes part.
 */
@Timeout(value = 240, unit = TimeUnit.SECONDS)
@Tag("alone")
class CudaRunIT {
    private static final Path SIMULATION = Commands.ROOT.resolve("kernels/target/cuda-simulation");
    private static final Duration LIMIT = Duration.ofSeconds(120);
    private static final String DRIVER = "shardloom.test.driver", REAL = "real";
    private static final String FAULTS = "needs faults or limits on demand, which a GPU does not have";

    @TempDir
    Path directory;

    private Path report;

    @BeforeEach
    void requireDriver() {
        Assumptions.assumeTrue(onGpus() || Files.exists(SIMULATION.resolve("libnccl.so.2")), "no " + SIMULATION);
        report = directory.resolve("faults");
    }

    private static boolean onGpus() {
        return REAL.equals(System.getProperty(DRIVER));
    }

    private static void requireGpus(int count) {
        if (onGpus()) {
            Driver driver = DriverProbe.look(Duration.ofSeconds(30));
            Assumptions.assumeTrue(
                    driver.fit().size() >= count,
                    "it needs " + count + " GPUs, and there are " + driver.fit().size()
                            + driver.problem().map(p -> ": " + p).orElse(""));
        }
    }

    private List<String> environment(int devices, long bytes, String... settings) {
        if (onGpus()) {
            return Stream.concat(Stream.of("env"), Stream.of(settings)).toList();
        }
        List<String> all = new ArrayList<>(List.of(
                "env",
                "LD_LIBRARY_PATH=" + SIMULATION,
                "XDG_CACHE_HOME=" + directory.resolve("cache"),
                "SHARDLOOM_SIM_DEVICES=" + devices,
                "SHARDLOOM_SIM_BYTES=" + bytes,
                "SHARDLOOM_SIM_DELAY_MICROS=50",
                "SHARDLOOM_SIM_REPORT=" + report));
        all.addAll(List.of(settings));
        return all;
    }

    private Running start(CleanRoom room, Path job, String... more) throws IOException {
        return room.startIn(
                environment(4, 2L << 30, "SHARDLOOM_LOG=INFO"),
                "start.sh",
                Stream.concat(Stream.of("--config", job.toString(), "--device", "cuda"), Stream.of(more))
                        .toArray(String[]::new));
    }

    /** Every process that used a GPU has said so, and none has seen a fault. */
    private void assertNoFaults(int processes) throws IOException {
        if (onGpus()) {
            return;
        }
        List<String> lines = Files.readAllLines(report);
        assertEquals(
                List.of(),
                lines.stream().filter(l -> !l.contains("end: 0 faults")).toList());
        long used = lines.stream().filter(l -> l.matches(".* peak [1-9].*")).count();
        assertTrue(used >= processes, used + " of " + processes + " processes used a GPU:\n" + lines);
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-chatglm3,4,zero.stage=2",
        "tiny-chatglm2,3,gradient_checkpointing=true",
        "tiny-chatglm1,4,zero.offload_params=true"
    })
    void lossesAndNormsEqualThoseOfPyTorch(String model, int workers, String setting) throws Exception {
        requireGpus(workers);
        Path job = TinyJob.write(directory, model, workers, 3);
        try (CleanRoom room = new CleanRoom(directory);
                TensorSource reference = SafetensorsFile.open(TinyJob.file(model, "train.safetensors"))) {
            start(room, job, "--set", setting).await(LIMIT).expect(0);
            float[] losses = reference.readAll("accum4/loss");
            float[] norms = reference.readAll("accum4/grad_norm");
            List<JsonNode> metrics = Commands.metrics(room.output);
            assertEquals(20, metrics.size());
            for (int i = 0; i < 20; i++) {
                JsonNode step = metrics.get(i);
                assertEquals(workers, step.path("workers").asInt());
                assertEquals(losses[i], step.path("loss").asDouble(), 1e-4 * losses[i], "loss of step " + (i + 1));
                assertEquals(norms[i], step.path("grad_norm").asDouble(), 1e-3 * norms[i], "norm of step " + (i + 1));
            }
            assertTrue(Files.exists(room.output.resolve("final/config.json")));
            assertNoAborts(room);
            assertNoFaults(workers);
            room.assertNoProcesses();
        }
    }

    /**
     * 4, 2, 4 workers, and one that is killed, with the optimizer's state on the GPUs, from where it passes through the hosts: the losses are
     * those of a run that was left alone, with the optimizer on the host, to the rounding of sums.
     */
    @Test
    void workersComeGoAndDie() throws Exception {
        requireGpus(4);
        Path job = TinyJob.write(directory, "tiny-chatglm3", 4, 3);
        Path calm = directory.resolve("calm");
        String[] common = {"--set", "train.max_steps=28", "--set", "checkpoint.every_steps=10"};
        try (CleanRoom room = new CleanRoom(directory)) {
            start(room, job, with(common, "--workers", "1", "--set", "output_dir=" + calm))
                    .await(LIMIT)
                    .expect(0);
            Running run = start(
                    room,
                    job,
                    with(common, "--set", "train.min_step_seconds=1", "--set", "zero.offload_optimizer=false"));
            awaitStep(room, run, 2);
            for (int workers : new int[] {2, 4}) {
                room.run("scale.sh", String.valueOf(workers), "--run", room.output.toString())
                        .expect(0);
                JsonNode all = room.commands.status(room.output).path("workers");
                assertEquals(workers, all.size());
                List<String> devices = new ArrayList<>();
                all.forEach(w -> devices.add(w.path("device").textValue()));
                assertEquals(workers, devices.stream().distinct().count(), devices.toString());
                assertTrue(devices.stream().allMatch(d -> d.matches("cuda:\\d+")), devices.toString());
            }
            JsonNode before = awaitStep(room, run, 18);
            assertNoAborts(room);
            long pid = room.commands
                    .status(room.output)
                    .path("workers")
                    .get(1)
                    .path("pid")
                    .asLong();
            assertTrue(ProcessHandle.of(pid).orElseThrow().destroyForcibly());
            Commands.awaitMetrics(
                    room.output,
                    LIMIT,
                    run,
                    m -> m.path("generation").asLong()
                            > before.path("generation").asLong());
            run.await(LIMIT).expect(0);
            double[] expected = Commands.losses(calm);
            double[] actual = Commands.losses(room.output);
            assertEquals(28, actual.length);
            for (int i = 0; i < 28; i++) {
                assertEquals(expected[i], actual[i], 1e-5 * expected[i], "loss of step " + (i + 1));
            }
            assertNoFaults(5);
            room.assertNoProcesses();
        }
    }

    /** A GPU that falls off its bus: its worker's process ends, another takes over on a GPU that is left, and the losses are the same. */
    @DisabledIfSystemProperty(named = DRIVER, matches = REAL, disabledReason = FAULTS)
    @Test
    void aWorkerWhoseGpuIsLostIsReplacedOnAnother() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        String[] common = {"--set", "train.max_steps=12", "--set", "checkpoint.every_steps=3"};
        try (CleanRoom room = new CleanRoom(directory)) {
            Path lost = directory.resolve("lost");
            String[] arguments = with(common, "--config", job.toString(), "--device", "cuda");
            String text = room.startIn(
                            environment(3, 2L << 30, "SHARDLOOM_SIM_LOSE=1:1500:" + lost), "start.sh", arguments)
                    .await(LIMIT)
                    .expect(0)
                    .output();
            assertTrue(Files.exists(lost), text);
            String said = text + logs(room);
            assertTrue(said.matches("(?s).*cuda:1: cu[^\\n]* returned 46.*"), said);
            assertLosses(room, 12);
            assertNoFaults(2); // that of the lost GPU has no peak to tell of
            room.assertNoProcesses();
        }
    }

    /** Each process's 60th collective never ends: it is given up in time, the ranks begin anew, and the losses are the same. */
    @DisabledIfSystemProperty(named = DRIVER, matches = REAL, disabledReason = FAULTS)
    @Test
    void aHangingCollectiveIsGivenUpAndTheRunGoesOn() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        String[] common = {"--set", "train.max_steps=8", "--set", "checkpoint.every_steps=2"};
        try (CleanRoom room = new CleanRoom(directory)) {
            String[] arguments = with(
                    common,
                    "--config",
                    job.toString(),
                    "--device",
                    "cuda",
                    "--set",
                    "cluster.collective_timeout_seconds=3");
            String text = room.startIn(
                            environment(2, 2L << 30, "SHARDLOOM_SIM_HANG_COLLECTIVE=60"), "start.sh", arguments)
                    .await(LIMIT)
                    .expect(0)
                    .output();
            CleanRoom.assertSays(text, List.of("has not ended within 3000 ms", "recovering: "));
            assertLosses(room, 8);
            assertNoFaults(2);
            room.assertNoProcesses();
        }
    }

    /** Weights find room, what the first step keeps does not; nobody has planned. */
    @DisabledIfSystemProperty(named = DRIVER, matches = REAL, disabledReason = FAULTS)
    @Test
    void outOfMemoryWithinAStepIsOneLine() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        Path model = Files.createDirectory(directory.resolve("wide"));
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = (ObjectNode) json.readTree(
                TinyJob.model("tiny-chatglm3").resolve("config.json").toFile());
        json.writeValue(model.resolve("config.json").toFile(), config.put("ffn_hidden_size", 4096));
        try (CleanRoom room = new CleanRoom(directory)) {
            String text = room.startIn(
                            environment(2, 132 << 20),
                            "start.sh",
                            "--config",
                            job.toString(),
                            "--device",
                            "cuda",
                            "--no-plan",
                            "--set",
                            "model.path=" + model,
                            "--set",
                            "model.init=random")
                    .await(LIMIT)
                    .expect(1)
                    .output();
            CleanRoom.assertSays(
                    text, List.of("training with 2 workers", "failed: no room for ", " bytes of ", "in use: {"));
            room.assertNoProcesses();
        }
    }

    @DisabledIfSystemProperty(named = DRIVER, matches = REAL, disabledReason = FAULTS)
    @Test
    void aJobThatDoesNotFitIsRefusedBeforeAnythingStarts() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        try (CleanRoom room = new CleanRoom(directory)) {
            String text = room.startIn(
                            environment(2, 3 << 20), "start.sh", "--config", job.toString(), "--device", "cuda")
                    .await(LIMIT)
                    .expect(1)
                    .output();
            CleanRoom.assertSays(text, List.of("the job needs at least", "GPU 0 has 3.15 MB of 3.15 MB free"));
            assertFalse(Files.exists(room.output.resolve("logs")), text);
            assertNoFaults(0);
            assertFalse(Files.readString(report).matches("(?s).* peak [1-9].*"), "a GPU's memory was used");
            room.assertNoProcesses();
        }
    }

    private static String logs(CleanRoom room) throws IOException {
        StringBuilder said = new StringBuilder();
        try (Stream<Path> logs = Files.list(room.output.resolve("logs"))) {
            for (Path log : logs.toList()) {
                said.append(Files.readString(log));
            }
        }
        return said.toString();
    }

    /** Groups have ended so far, if at all, with all their ranks. */
    private static void assertNoAborts(CleanRoom room) throws IOException {
        String said = logs(room);
        assertTrue(said.contains("exchanges tensors through NCCL"), said);
        assertFalse(said.contains("its communicator is aborted"), said);
    }

    /** Those of PyTorch's trace. */
    private static void assertLosses(CleanRoom room, int steps) throws Exception {
        try (TensorSource reference = SafetensorsFile.open(TinyJob.file("tiny-chatglm3", "train.safetensors"))) {
            float[] expected = reference.readAll("accum4/loss");
            double[] actual = Commands.losses(room.output);
            assertEquals(steps, actual.length);
            for (int i = 0; i < steps; i++) {
                assertEquals(expected[i], actual[i], 1e-4 * expected[i], "loss of step " + (i + 1));
            }
        }
    }

    private static JsonNode awaitStep(CleanRoom room, Running run, int step) throws Exception {
        return Commands.awaitMetrics(
                room.output, LIMIT, run, m -> m.path("step").asInt() >= step);
    }

    private static String[] with(String[] common, String... more) {
        return Stream.concat(Stream.of(common), Stream.of(more)).toArray(String[]::new);
    }

    /** One line that says what was wrong; no process and no half run is left. */
    @DisabledIfSystemProperty(named = DRIVER, matches = REAL, disabledReason = FAULTS)
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "1|2147483648|SHARDLOOM_SIM_SEED=2|in use by another worker",
                "2|3145728|SHARDLOOM_SIM_SEED=2|no room for",
                "2|2147483648|SHARDLOOM_SIM_FAIL_LAUNCH=400|returned 719",
                "2|2147483648|SHARDLOOM_SIM_NCCL_VERSION=20000|NCCL 2.0.0 is too old"
            })
    void badSituationsEndInOneLine(int devices, long bytes, String setting, String says) throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        try (CleanRoom room = new CleanRoom(directory)) {
            String text = room.startIn(
                            environment(devices, bytes, setting),
                            "start.sh",
                            "--config",
                            job.toString(),
                            "--device",
                            "cuda",
                            "--no-plan")
                    .await(LIMIT)
                    .expect(1)
                    .output();
            CleanRoom.assertSays(text, List.of(says));
            List<String> failures =
                    text.lines().filter(l -> l.startsWith("failed: ")).toList();
            assertEquals(1, failures.size(), text);
            assertTrue(failures.get(0).contains(says), failures.get(0));
            room.assertNoProcesses();
        }
    }
}
