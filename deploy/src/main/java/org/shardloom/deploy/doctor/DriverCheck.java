package org.shardloom.deploy.doctor;

import java.util.List;
import org.shardloom.kernels.cuda.probe.Driver;

/** NVIDIA's driver: there, working, new enough. */
final class DriverCheck implements Check {
    static final String ADVICE = "install NVIDIA's driver 525 or newer, or set device: cpu";

    @Override
    public List<Finding> look(Situation situation) {
        return situation.gpus().map(gpus -> List.of(of(situation, gpus))).orElse(List.of());
    }

    private static Finding of(Situation situation, GpuFacts gpus) {
        Driver driver = gpus.driver();
        if (driver.problem().isPresent()) {
            String problem = driver.problem().get();
            if (situation.gpusWanted()) {
                return Finding.error("driver", problem, ADVICE);
            }
            return Finding.ok("driver", problem + "; workers compute on this host's processors");
        }
        String own = gpus.nvml().driver().isEmpty() ? "" : gpus.nvml().driver() + ", ";
        return Finding.ok(
                "driver",
                "NVIDIA's driver " + own + "for CUDA " + driver.versionText() + ", shows "
                        + driver.gpus().size() + " GPUs");
    }
}
