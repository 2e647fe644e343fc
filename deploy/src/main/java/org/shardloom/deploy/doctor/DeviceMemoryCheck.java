package org.shardloom.deploy.doctor;

import java.util.List;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.worker.plan.Fit;

/** Memory of the GPUs that the workers get. */
final class DeviceMemoryCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        if (situation.needs().isEmpty()
                || !situation.gpusWanted()
                || situation.fullest().isEmpty()) {
            return List.of();
        }
        JobNeeds needs = situation.needs().get();
        Gpu fullest = situation.fullest().get();
        long free = situation.free(fullest);
        int most = situation.severalHosts()
                ? Integer.MAX_VALUE
                : situation.working().get().driver().fit().size();
        String holders = situation.state(fullest).map(HoldersCheck::holders).orElse("");
        String room = " of each GPU and some " + Bytes.text(Fit.RESERVED) + " for driver and libraries, and GPU "
                + fullest.ordinal() + " has " + Bytes.text(free) + " of " + Bytes.text(fullest.totalBytes()) + " free"
                + (holders.isEmpty() ? "" : " (" + holders + ")");
        long peak = needs.atMostOnGpus().devicePeakBytes();
        if (peak + Fit.RESERVED <= free) {
            return List.of(Finding.ok("device memory", "the job needs " + Bytes.text(peak) + room));
        }
        long least = needs.atLeastOnGpus().devicePeakBytes();
        // What others hold may be given back, and what driver and libraries take is an estimate: it is held against the
        // whole card.
        boolean onEmptyCard = least + Fit.RESERVED <= fullest.totalBytes();
        if (least > free || !onEmptyCard) {
            return List.of(Finding.error(
                    "device memory",
                    "the job needs at least " + Bytes.text(least) + room,
                    (onEmptyCard ? "end what holds the rest; as it is, " : "") + needs.changeOnGpus(free, most)));
        }
        return List.of(Finding.warning(
                "device memory",
                "the job needs up to " + Bytes.text(peak) + room + ": it may be too little",
                needs.changeOnGpus(free, most)));
    }
}
