package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.shardloom.kernels.cuda.probe.GpuState;

/** CUDA_VISIBLE_DEVICES: the driver passes over in silence what follows an entry that it does not know. */
final class VisibleDevicesCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        Optional<String> visible = situation.gpus().flatMap(GpuFacts::visible);
        if (visible.isEmpty()) {
            return List.of();
        }
        List<GpuState> all = situation.gpus().get().nvml().gpus();
        List<String> problems = all.isEmpty() ? repeated(visible.get()) : problems(visible.get(), all);
        if (problems.isEmpty()) {
            return List.of(Finding.ok("visible devices", "CUDA_VISIBLE_DEVICES is '" + visible.get() + "'"));
        }
        return problems.stream()
                .map(problem -> situation.gpusWanted()
                        ? Finding.error("visible devices", problem, "")
                        : Finding.warning("visible devices", problem, ""))
                .toList();
    }

    /** All that can be said where NVML does not tell what GPUs there are. */
    private static List<String> repeated(String visible) {
        Set<String> seen = new HashSet<>();
        return Stream.of(visible.split(","))
                .map(String::strip)
                .filter(entry -> !entry.isEmpty() && !seen.add(entry))
                .map(VisibleDevicesCheck::twice)
                .toList();
    }

    private static String twice(String gpu) {
        return "CUDA_VISIBLE_DEVICES names " + gpu
                + " twice: two workers on one GPU would share its memory, and NCCL refuses that";
    }

    /**
     * What is wrong with the variable, each in one line.
     *
     * @param all GPUs of the host
     */
    static List<String> problems(String visible, List<GpuState> all) {
        List<String> problems = new ArrayList<>();
        Set<Integer> seen = new HashSet<>();
        for (String entry : visible.split(",")) {
            String wanted = entry.strip();
            if (wanted.isEmpty() || wanted.startsWith("MIG-")) {
                continue;
            }
            Optional<GpuState> found = find(wanted, all);
            if (found.isEmpty()) {
                problems.add("CUDA_VISIBLE_DEVICES names '" + wanted + "', but this host has "
                        + (wanted.startsWith("GPU-")
                                ? String.join(
                                        ", ", all.stream().map(GpuState::uuid).toList())
                                : "GPUs 0 to " + (all.size() - 1)));
            } else if (!seen.add(found.get().index())) {
                problems.add(twice("GPU " + found.get().index()));
            }
        }
        return problems;
    }

    /** By number, or by the beginning of its UUID. */
    private static Optional<GpuState> find(String wanted, List<GpuState> all) {
        if (wanted.matches("\\d{1,9}")) {
            return all.stream()
                    .filter(gpu -> gpu.index() == Integer.parseInt(wanted))
                    .findFirst();
        }
        return wanted.startsWith("GPU-")
                ? all.stream().filter(gpu -> gpu.uuid().startsWith(wanted)).findFirst()
                : Optional.empty();
    }
}
