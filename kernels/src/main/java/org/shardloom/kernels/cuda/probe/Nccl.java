package org.shardloom.kernels.cuda.probe;

import java.util.Optional;

/**
 * NVIDIA's library of collectives.
 *
 * @param problem why it is not there, in one line
 * @param version as the library codes it: 22304 is 2.23.4; 0 where that is not known
 */
public record Nccl(Optional<String> problem, int version) {
    /**
     * With communicators that do not block, which a peer's death asks for, the settings of them that are used here, and an abort that comes
     * back (NVIDIA/nccl#992).
     */
    public static final int OLDEST = 21901;

    static Nccl without(String problem) {
        return new Nccl(Optional.of(problem), 0);
    }

    /** As people write it. */
    public String versionText() {
        return text(version);
    }

    public static String text(int version) {
        return version / 10000 + "." + version % 10000 / 100 + "." + version % 100;
    }
}
