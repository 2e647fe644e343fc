package org.shardloom.deploy.doctor;

import java.util.List;

/** /dev/shm: NCCL keeps buffers there, and between hosts Aeron does. Workers on processors of one host need none of it. */
final class SharedMemoryCheck implements Check {
    private static final long ENOUGH = 1L << 30;
    private static final String ADVICE =
            "give it 1 GiB or more: docker run --shm-size=1g, or mount -o remount,size=2g /dev/shm";

    @Override
    public List<Finding> look(Situation situation) {
        boolean used = situation.severalHosts() || situation.gpusWanted() && situation.workers() != 1;
        if (situation.host().sharedMemory().isEmpty()) {
            return used ? List.of(Finding.warning("shared memory", "there is no /dev/shm", ADVICE)) : List.of();
        }
        long bytes = situation.host().sharedMemory().getAsLong();
        String found = "/dev/shm has " + Bytes.text(bytes);
        if (used && bytes < ENOUGH) {
            String whose = situation.gpusWanted() ? "NCCL" : "Aeron";
            return List.of(Finding.warning(
                    "shared memory", found + ", and " + whose + " may need more for its buffers", ADVICE));
        }
        return List.of(Finding.ok("shared memory", found));
    }
}
