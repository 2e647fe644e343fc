package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.DriverProbe;
import org.shardloom.protocol.config.DeviceChoice;
import org.shardloom.protocol.config.JobFile;

/**
 * A job whose device is settled: {@code device: auto} is the GPUs where the kernels run on at least one, and the processors else. Fewer
 * than there are workers are GPUs all the same: what comes before the start says what to do then.
 *
 * @param overrides with which the file makes the job, the device among them
 * @param why the job that left the choice open computes on the processors, in one line
 */
record JobDevice(JobFile file, List<String> overrides, Optional<String> why) {
    /** A driver that does not answer for so long is not there. */
    static final Duration DRIVER_PATIENCE = Duration.ofSeconds(30);

    /** Reads the job; asks the driver where it leaves the choice open. */
    static JobDevice settle(Path config, List<String> overrides) {
        JobFile file = JobFile.load(config, overrides);
        if (file.config().device() != DeviceChoice.AUTO) {
            return new JobDevice(file, List.copyOf(overrides), Optional.empty());
        }
        Optional<String> why = processors(DriverProbe.look(DRIVER_PATIENCE));
        List<String> settled = new ArrayList<>(overrides);
        settled.add("device=" + (why.isEmpty() ? "cuda" : "cpu"));
        return new JobDevice(JobFile.load(config, settled), List.copyOf(settled), why);
    }

    /** Why workers compute on the processors of a host with that driver; nothing where they compute on its GPUs. */
    static Optional<String> processors(Driver driver) {
        if (!driver.fit().isEmpty()) {
            return Optional.empty();
        }
        String unfit =
                driver.gpus().stream().flatMap(gpu -> gpu.unfit().stream()).collect(Collectors.joining("; "));
        String reason = unfit.isEmpty() ? driver.problem().orElse("the NVIDIA driver shows no GPU") : unfit;
        return Optional.of(reason + ": computing on the CPU");
    }
}
