package org.shardloom.deploy.doctor;

import java.util.List;

/** Pages of memory: the kernels for processors ask for huge ones. */
final class PagesCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        HostFacts host = situation.host();
        String found = "pages of " + host.page() / 1024 + " KiB"
                + (host.hugePages().isEmpty() ? "" : ", huge pages: " + host.hugePages());
        // Nothing fails without, and in a container nobody can change it.
        return List.of(
                host.hugePages().equals("never")
                        ? new Finding(
                                "pages",
                                Finding.Status.OK,
                                found + ", so that matrix products on processors are slower",
                                "as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
                        : Finding.ok("pages", found));
    }
}
