package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.shardloom.deploy.doctor.Finding.Status;
import org.shardloom.protocol.config.DeviceChoice;
import org.shardloom.protocol.config.JobConfig;

/** All checks, in an order in which a cause comes before what follows from it. */
public final class Doctor {
    private static final List<Check> CHECKS = List.of(
            new DriverCheck(),
            new VisibleDevicesCheck(),
            new DevicesCheck(),
            new WorkersCheck(),
            new NvmlCheck(),
            new HealthCheck(),
            new HoldersCheck(),
            new PeersCheck(),
            new LibrariesCheck(),
            new NcclCheck(),
            new SharedMemoryCheck(),
            new LimitsCheck(),
            new PagesCheck(),
            new DeviceMemoryCheck(),
            new HostMemoryCheck(),
            new DiskCheck());

    private Doctor() {}

    /** Whether the job's workers compute on GPUs. */
    public static boolean wantsGpus(JobConfig job) {
        return job.device() == DeviceChoice.CUDA;
    }

    /**
     * Examines this host for what it can do, or for a job.
     *
     * @param needs of the job
     * @param gpusWanted whether workers are to compute on GPUs
     * @param workers on this host; 0 where that is not known
     */
    public static List<Finding> examine(Optional<JobNeeds> needs, boolean gpusWanted, int workers) {
        return examine(
                new Situation(gpusWanted, workers, false, HostFacts.read(), Optional.of(GpuFacts.read()), needs));
    }

    /**
     * What to know before the job starts: warnings, and errors with which it must not start. GPUs are looked at only where workers compute
     * on them.
     *
     * @param severalHosts whether workers are started on others; then memory is theirs to have
     */
    public static List<Finding> beforeStart(JobNeeds needs, boolean severalHosts) {
        JobConfig job = needs.job();
        boolean gpus = wantsGpus(job);
        return examine(new Situation(
                        gpus,
                        severalHosts ? 0 : job.workers(),
                        severalHosts,
                        HostFacts.read(),
                        gpus ? Optional.of(GpuFacts.read()) : Optional.empty(),
                        Optional.of(needs)))
                .stream()
                .filter(finding -> finding.status() != Status.OK)
                .toList();
    }

    static List<Finding> examine(Situation situation) {
        List<Finding> findings = new ArrayList<>();
        for (Check check : CHECKS) {
            findings.addAll(check.look(situation));
        }
        return findings;
    }
}
