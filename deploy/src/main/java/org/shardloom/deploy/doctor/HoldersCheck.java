package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.kernels.cuda.probe.GpuState;
import org.shardloom.kernels.cuda.probe.GpuState.GpuProcess;

/** Free memory of each GPU, and who holds the rest. */
final class HoldersCheck implements Check {
    /** What the driver itself takes, and a little more. */
    private static final long USUAL = 1_000_000_000;

    @Override
    public List<Finding> look(Situation situation) {
        List<Finding> findings = new ArrayList<>();
        for (Gpu gpu : situation.used()) {
            Optional<GpuState> state = situation.state(gpu);
            if (state.isEmpty() || state.get().freeBytes().isEmpty()) {
                continue;
            }
            long free = state.get().freeBytes().getAsLong();
            String found = "GPU " + gpu.ordinal() + " has " + Bytes.text(free) + " of " + Bytes.text(gpu.totalBytes())
                    + " free";
            String holders = holders(state.get());
            if (!holders.isEmpty()) {
                findings.add(Finding.warning(
                        "free memory", found + "; " + holders, "end what should not run, or choose other GPUs"));
            } else if (free < gpu.totalBytes() - USUAL) {
                findings.add(Finding.warning(
                        "free memory",
                        found + ", and the driver does not say who holds the rest",
                        "look for processes of other users and containers"));
            } else {
                findings.add(Finding.ok("free memory", found));
            }
        }
        return findings;
    }

    /** "process 4242 (python) holds 18.0 GB"; empty where there is none. */
    static String holders(GpuState state) {
        return state.processes().stream().map(HoldersCheck::holder).collect(Collectors.joining(", "));
    }

    private static String holder(GpuProcess process) {
        return "process " + process.pid() + (process.name().isEmpty() ? "" : " (" + process.name() + ")")
                + (process.bytes().isPresent()
                        ? " holds " + Bytes.text(process.bytes().getAsLong())
                        : " computes there");
    }
}
