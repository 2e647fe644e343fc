package org.shardloom.deploy.e2e;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** {@code shardloom plan} of a real model of which only the configuration is there. */
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class PlanIT {
    @TempDir
    Path directory;

    private CleanRoom room;
    private Path job;

    @BeforeEach
    void open() throws Exception {
        room = new CleanRoom(directory);
        job = Files.writeString(
                directory.resolve("job.yaml"),
                """
                model: {path: %s}
                data: {train: none.jsonl}
                train: {micro_batch_size: 1, global_batch_size: 4}
                output_dir: %s
                workers: 4
                """
                        .formatted(TinyJob.shared("facts/models/chatglm2-6b"), directory.resolve("out")));
    }

    @AfterEach
    void close() {
        room.close();
    }

    private JsonNode json(int status, String... more) throws Exception {
        String[] arguments = new String[more.length + 4];
        arguments[0] = "plan";
        arguments[1] = "--config";
        arguments[2] = job.toString();
        arguments[3] = "--json";
        System.arraycopy(more, 0, arguments, 4, more.length);
        String output = room.run("shardloom", arguments).expect(status).output();
        return new ObjectMapper().readTree(output);
    }

    @Test
    void whatAJobNeedsIsKnownBeforeItStarts() throws Exception {
        JsonNode plan = json(0, "--gpus", "4x8GiB", "--suggest");
        assertTrue(plan.get("fits").booleanValue());
        assertEquals(4, plan.get("ranks").size());
        long pinned = 0;
        for (int r = 0; r < 4; r++) {
            JsonNode rank = plan.get("ranks").get(r);
            assertEquals(r, rank.get("rank").intValue());
            long sum = 0;
            for (JsonNode bytes : rank.get("device_peak_by_purpose")) {
                sum += bytes.longValue();
            }
            assertEquals(sum, rank.get("device_peak_bytes").longValue());
            assertTrue(sum < 7e9, sum + " bytes");
            assertTrue(rank.get("host_peak_bytes").longValue()
                    >= rank.get("pinned_host_bytes").longValue());
            pinned += rank.get("pinned_host_bytes").longValue();
        }
        long parameters = plan.get("trained_parameters").longValue();
        double hostBytes = plan.get("host_peak_bytes").doubleValue() / parameters;
        assertTrue(
                hostBytes > 14 && hostBytes <= 16, hostBytes + " bytes of host memory a parameter, page-locked or not");
        assertEquals(12 * parameters, plan.get("checkpoint_bytes").longValue());
        assertTrue(plan.get("communication_bytes_per_step").longValue() > 4 * 3 * 6e9);
        assertTrue(plan.get("step_seconds_estimate").doubleValue() > 0);
        assertFalse(plan.has("smallest_change"));
        assertEquals(
                plan.get("host_peak_bytes").longValue(),
                pinned + 4 * plan.get("ranks").get(0).get("pageable_host_bytes").longValue());
        assertTrue(plan.get("suggestions").size() > 0);
        assertFalse(Files.exists(directory.resolve("out")), "a plan writes nothing");
    }

    @Test
    void aJobThatDoesNotFitIsToldWhatWouldHelp() throws Exception {
        JsonNode plan = json(1, "--gpus", "4x6GiB");
        assertFalse(plan.get("fits").booleanValue());
        assertEquals(
                "zero.offload_params=true", plan.get("smallest_change").get(0).textValue());
        String text = room.run("shardloom", "plan", "--config", job.toString(), "--gpus", "4x6GiB")
                .expect(1)
                .output();
        assertTrue(text.contains("the job does NOT fit"), text);
        assertTrue(text.contains("it would fit with --set zero.offload_params=true: 3."), text);
    }

    @Test
    void mistakesAreOneClearLine() throws Exception {
        room.refused(
                2,
                List.of("--gpus", "'four' names no GPUs", "4x24GiB"),
                "shardloom",
                "plan",
                "--config",
                job.toString(),
                "--gpus",
                "four");
        room.refused(
                2,
                List.of("method.targets", "q_proj", "query_key_value"),
                "shardloom",
                "plan",
                "--config",
                job.toString(),
                "--set",
                "method={type: lora, targets: [q_proj]}");
        room.refused(
                2,
                List.of("zero.offload_optimizer"),
                "shardloom",
                "plan",
                "--config",
                job.toString(),
                "--set",
                "zero.offload_optimizer=false",
                "--set",
                "zero.offload_params=true");
        room.refused(
                2,
                List.of("config.json"),
                "shardloom",
                "plan",
                "--config",
                job.toString(),
                "--set",
                "model.path=" + directory);
    }
}
