package org.shardloom.deploy.doctor;

import java.util.List;
import org.shardloom.kernels.cuda.probe.Driver;

/** A GPU for each worker. */
final class WorkersCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        if (!situation.gpusWanted() || situation.working().isEmpty() || situation.workers() == 0) {
            return List.of();
        }
        Driver driver = situation.working().get().driver();
        // Where the kernels run on none, another check says so.
        int gpus = driver.fit().isEmpty() ? driver.gpus().size() : driver.fit().size();
        int workers = situation.workers();
        if (workers <= gpus) {
            return List.of(Finding.ok("workers", workers + " workers, each with a GPU of its own"));
        }
        return List.of(Finding.error(
                "workers",
                workers + " workers need " + workers + " GPUs, and the driver shows " + gpus
                        + (gpus < driver.gpus().size() ? " that the kernels run on" : "")
                        + ": two workers on one GPU would share its memory, and NCCL refuses that",
                "start with --workers " + gpus + ", or on more hosts with --hosts"));
    }
}
