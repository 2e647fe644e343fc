package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** {@code shardloom doctor}, and what start.sh asks before it starts. Where GPUs are spoken of, they are simulated. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
@Tag("alone")
class DoctorIT {
    private static final Path SIMULATION = Commands.ROOT.resolve("kernels/target/cuda-simulation");

    @TempDir
    Path directory;

    private CleanRoom room;

    @BeforeEach
    void open() throws IOException {
        room = new CleanRoom(directory);
    }

    @AfterEach
    void close() {
        room.close();
    }

    private JsonNode json(int status, List<String> environment, String... arguments) throws Exception {
        List<String> prefix = new ArrayList<>(List.of("env"));
        prefix.addAll(environment);
        String[] all = new String[arguments.length + 2];
        all[0] = "doctor";
        all[1] = "--json";
        System.arraycopy(arguments, 0, all, 2, arguments.length);
        return new ObjectMapper()
                .readTree(room.startIn(prefix, "shardloom", all)
                        .await(CleanRoom.LIMIT)
                        .expect(status)
                        .output());
    }

    private static JsonNode check(JsonNode all, String name) {
        for (JsonNode check : all.get("checks")) {
            if (check.get("check").textValue().equals(name)) {
                return check;
            }
        }
        throw new AssertionError("no " + name + " in " + all);
    }

    private static void says(JsonNode all, String name, String status, String... words) {
        JsonNode check = check(all, name);
        assertEquals(status, check.get("status").textValue(), check.toString());
        CleanRoom.assertSays(check.get("found").textValue(), List.of(words));
    }

    /** The simulation in the place of NVIDIA's libraries. */
    private static List<String> simulated(String... settings) {
        Assumptions.assumeTrue(Files.exists(SIMULATION.resolve("libnvidia-ml.so.1")), "no " + SIMULATION);
        List<String> all = new ArrayList<>(List.of(
                "LD_LIBRARY_PATH=" + SIMULATION, "SHARDLOOM_SIM_DEVICES=2", "SHARDLOOM_SIM_BYTES=" + (8L << 30)));
        all.addAll(List.of(settings));
        return all;
    }

    @Test
    void aHostWithoutGpusIsSound() throws Exception {
        Assumptions.assumeFalse(Files.exists(Path.of("/dev/nvidiactl")), "there are GPUs");
        JsonNode all = json(0, List.of());
        assertTrue(all.get("healthy").booleanValue());
        says(all, "driver", "ok", "no NVIDIA driver", "workers compute on this host's processors");
        assertTrue(check(all, "disk").get("found").textValue().contains(" are free in "));
        String text = room.run("shardloom", "doctor").expect(0).output();
        CleanRoom.assertSays(text, List.of("nothing is in the way"));
    }

    @Test
    void aJobForGpusNeedsADriver() throws Exception {
        Assumptions.assumeFalse(Files.exists(Path.of("/dev/nvidiactl")), "there are GPUs");
        Path job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
        JsonNode all = json(1, List.of(), "--config", job.toString(), "--device", "cuda");
        assertFalse(all.get("healthy").booleanValue());
        says(all, "driver", "error", "no NVIDIA driver: libcuda.so.1");
        assertTrue(check(all, "driver").get("advice").textValue().contains("device: cpu"));
        assertFalse(Files.exists(room.output), "the doctor writes nothing");
    }

    @Test
    void simulatedGpusAreExamined() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
        JsonNode all = json(
                0,
                simulated("SHARDLOOM_SIM_NVML_PROCESSES=4242:5000000000", "SHARDLOOM_SIM_NVML_THROTTLE=0x40"),
                "--config",
                job.toString(),
                "--device",
                "cuda");
        says(all, "driver", "ok", "shows 2 GPUs");
        says(all, "free memory", "warning", "process 4242 (program-4242) holds 5.0 GB");
        says(all, "health", "warning", "slowed by its temperature");
        says(all, "libraries", "ok", "cuBLAS (libcublas.so.12) of the host, NVRTC (libnvrtc.so.12) of the host");
        says(all, "device memory", "ok", "GPU 0 has 3.6 GB of 8.6 GB free");
    }

    /** The same for both: GPUs where the kernels run on one of them, else the processors, and why. */
    @Test
    void doctorAndStartAgreeOnTheDeviceThatIsLeftOpen() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 2, 3);
        String[] open = TinyJob.with(job, "device=auto", "train.max_steps=1");
        JsonNode one = json(1, simulated("SHARDLOOM_SIM_DEVICES=1"), open);
        says(one, "workers", "error", "2 workers need 2 GPUs, and the driver shows 1");
        String refused =
                start(simulated("SHARDLOOM_SIM_DEVICES=1"), open).expect(1).output();
        CleanRoom.assertSays(refused, List.of("2 workers need 2 GPUs", "start with --workers 1"));
        String[] none = {"SHARDLOOM_SIM_DEVICES=0"}, old = {"SHARDLOOM_SIM_CAPABILITY=75"};
        String[] whys = {
            "the NVIDIA driver shows no GPU: computing on the CPU",
            "GPU 0 has compute capability 7.5, 8.0 is needed; GPU 1 has compute capability 7.5, 8.0 is needed: "
                    + "computing on the CPU"
        };
        says(json(0, simulated(none), open), "device", "ok", "auto: " + whys[0]);
        says(json(0, simulated(old), open), "device", "ok", "auto: " + whys[1]);
    }

    private Commands.Result start(List<String> environment, String... arguments) throws Exception {
        List<String> prefix = new ArrayList<>(List.of("env"));
        prefix.addAll(environment);
        return room.startIn(prefix, "start.sh", arguments).await(CleanRoom.LIMIT);
    }

    @Test
    void whatIsWrongWithSimulatedGpusIsSaid() throws Exception {
        JsonNode many = json(1, simulated("SHARDLOOM_SIM_NO_PEERS=1"), "--device", "cuda", "--workers", "3");
        says(many, "workers", "error", "3 workers need 3 GPUs, and the driver shows 2");
        says(many, "peers", "warning", "cannot reach each other's memory");
        JsonNode hidden = json(1, simulated("CUDA_VISIBLE_DEVICES=0,5"), "--device", "cuda", "--workers", "1");
        says(hidden, "visible devices", "error", "names '5'");
        JsonNode failing = json(0, simulated("SHARDLOOM_SIM_NVML_INIT=18"), "--device", "cuda", "--workers", "1");
        Path bare = Files.createDirectory(directory.resolve("driver-only"));
        Files.createSymbolicLink(bare.resolve("libcuda.so.1"), SIMULATION.resolve("libcuda.so.1"));
        JsonNode alone = json(1, simulated("LD_LIBRARY_PATH=" + bare), "--device", "cuda", "--workers", "1");
        says(alone, "libraries", "error", "no cuBLAS: libcublas.so.12: cannot open shared object file");
        says(failing, "nvml", "warning", "nvmlInit returned 18", "stay unknown");
        JsonNode old = json(1, simulated("SHARDLOOM_SIM_DRIVER_VERSION=11080"), "--device", "cuda");
        says(old, "driver", "error", "the NVIDIA driver is too old: it is made for CUDA 11.8, and 12.0 is needed");
    }

    @Test
    void mistakesAreOneClearLine() throws Exception {
        room.refused(2, List.of("--config FILE"), "shardloom", "doctor", "--set", "workers=2");
        room.refused(2, List.of("--workers", "found 0"), "shardloom", "doctor", "--workers", "0");
        room.refused(2, List.of("--device", "abacus"), "shardloom", "doctor", "--device", "abacus");
    }

    /** More than a terabyte, whatever the samples. */
    @Test
    void aJobThatCannotFitThisHostIsRefusedBeforeAnythingStarts() throws Exception {
        Path model = TinyJob.shared("facts/models/chatglm3-6b");
        Path job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
        String[] start = TinyJob.with(
                job,
                "model={path: " + model + ", init: random}",
                "workers=128",
                "train.micro_batch_size=1",
                "train.global_batch_size=128",
                "zero.stage=2");
        List<String> doctor = new ArrayList<>(List.of("doctor"));
        doctor.addAll(List.of(start));
        CleanRoom.assertSays(
                room.run("shardloom", doctor.toArray(String[]::new)).expect(1).output(),
                List.of("error   host memory     the job needs at least "));
        assertFalse(Files.exists(room.output), "the doctor writes nothing");
        room.assertNothingLeft(room.output);
        room.refused(
                1, List.of("the job needs ", "GB of host memory (128 workers of", "are available"), "start.sh", start);
        room.assertNothingLeft(room.output);
        assertFalse(Files.exists(room.output.resolve("logs")), "no worker was started");
    }

    @Test
    void whatIsToBeKnownIsSaidBeforeTheStart() throws Exception {
        Path job = TinyJob.write(directory, "tiny-chatglm3", 1, 3);
        String many = "checkpoint={every_steps: 100, keep_last: 2000000000}";
        String[] few = TinyJob.with(job, "train.max_steps=1", many);
        String[] open = TinyJob.with(job, "train.max_steps=1", many, "device=auto");
        String text =
                start(simulated("SHARDLOOM_SIM_CAPABILITY=75"), open).expect(0).output();
        CleanRoom.assertSays(text, List.of("warning: checkpoints and final model come to", "the run will pause"));
        String why = "GPU 1 has compute capability 7.5, 8.0 is needed: computing on the CPU";
        assertEquals(1, text.lines().filter(line -> line.endsWith(why)).count(), text);
        String[] again = new String[few.length + 2];
        System.arraycopy(few, 0, again, 0, few.length);
        again[few.length] = "--set";
        again[few.length + 1] = "output_dir=" + directory.resolve("other");
        String[] unasked = java.util.Arrays.copyOf(again, again.length + 1);
        unasked[again.length] = "--no-plan";
        String quiet = room.run("start.sh", unasked).expect(0).output();
        assertFalse(quiet.contains("warning"), quiet);
    }
}
