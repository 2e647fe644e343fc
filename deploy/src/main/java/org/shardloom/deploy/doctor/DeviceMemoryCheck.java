package org.shardloom.deploy.doctor;

import java.util.List;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.worker.plan.Fit;
import org.shardloom.worker.plan.JobPlan;

/** Memory of the GPUs that the workers get. */
final class DeviceMemoryCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        List<Gpu> used = situation.used();
        if (situation.needs().isEmpty() || !situation.gpusWanted() || used.isEmpty()) {
            return List.of();
        }
        JobNeeds needs = situation.needs().get();
        Gpu fullest = used.get(0);
        for (Gpu gpu : used) {
            fullest = situation.free(gpu) < situation.free(fullest) ? gpu : fullest;
        }
        long free = situation.free(fullest);
        int most = situation.severalHosts()
                ? Integer.MAX_VALUE
                : situation.working().get().driver().gpus().size();
        JobPlan plan = needs.onGpus(free);
        long peak = plan.devicePeakBytes();
        String holders = situation.state(fullest).map(HoldersCheck::holders).orElse("");
        String found = "the job needs " + Bytes.text(peak) + " of each GPU and some " + Bytes.text(Fit.RESERVED)
                + " for driver and libraries, and GPU " + fullest.ordinal() + " has " + Bytes.text(free) + " of "
                + Bytes.text(fullest.totalBytes()) + " free" + (holders.isEmpty() ? "" : " (" + holders + ")");
        if (peak > free) {
            return List.of(Finding.error(
                    "device memory",
                    found,
                    (peak + Fit.RESERVED <= fullest.totalBytes() ? "end what holds the rest; as it is, " : "")
                            + needs.changeOnGpus(free, most)));
        }
        if (peak + Fit.RESERVED > free) {
            return List.of(
                    Finding.warning("device memory", found + ": it may be too little", needs.changeOnGpus(free, most)));
        }
        return List.of(Finding.ok("device memory", found));
    }
}
