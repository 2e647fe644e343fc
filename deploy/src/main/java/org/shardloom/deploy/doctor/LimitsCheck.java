package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.List;

/** Limits of processes (ulimit). */
final class LimitsCheck implements Check {
    private static final long FILES = 1024;

    @Override
    public List<Finding> look(Situation situation) {
        HostFacts host = situation.host();
        List<Finding> findings = new ArrayList<>();
        if (host.openFiles() < FILES) {
            findings.add(Finding.warning(
                    "limits",
                    "a process may open " + host.openFiles() + " files, and a worker needs some hundreds",
                    "ulimit -n " + 4 * FILES));
        }
        if (situation.gpusWanted() && situation.severalHosts() && host.lockedMemory() < Long.MAX_VALUE) {
            findings.add(Finding.warning(
                    "limits",
                    "a process may lock " + Bytes.text(host.lockedMemory())
                            + " of memory: NCCL cannot use InfiniBand with so little",
                    "ulimit -l unlimited"));
        }
        if (findings.isEmpty()) {
            findings.add(Finding.ok(
                    "limits",
                    "open files " + (host.openFiles() == Long.MAX_VALUE ? "unlimited" : host.openFiles())
                            + ", locked memory " + Bytes.text(host.lockedMemory()) + ", core files "
                            + (host.coreFile() == 0 ? "off" : Bytes.text(host.coreFile()))));
        }
        return findings;
    }
}
