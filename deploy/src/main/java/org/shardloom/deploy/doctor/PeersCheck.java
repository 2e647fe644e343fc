package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.kernels.cuda.probe.GpuState;

/** How GPUs reach each other's memory. */
final class PeersCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        List<Gpu> used = situation.used();
        if (used.size() < 2) {
            return List.of();
        }
        List<String> apart = new ArrayList<>();
        for (Gpu gpu : used) {
            for (Gpu other : used) {
                if (gpu.ordinal() < other.ordinal() && !gpu.peers().contains(other.ordinal())) {
                    apart.add(gpu.ordinal() + " and " + other.ordinal());
                }
            }
        }
        if (!apart.isEmpty()) {
            return List.of(Finding.warning(
                    "peers",
                    "GPUs " + String.join(", ", apart)
                            + " cannot reach each other's memory: NCCL goes through the host's, which is slower",
                    "cards without NVLink often cannot; on others see that IOMMU and ACS do not forbid it"));
        }
        OptionalInt links = used.stream()
                .flatMap(gpu -> situation.state(gpu).stream())
                .mapToInt(GpuState::links)
                .min();
        String over = links.isEmpty()
                ? ""
                : links.getAsInt() > 0 ? ", over " + links.getAsInt() + " NVLinks at least" : ", over PCI Express";
        return List.of(Finding.ok("peers", used.size() + " GPUs reach each other's memory" + over));
    }
}
