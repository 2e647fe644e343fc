package org.shardloom.kernels.cuda.probe;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.bytedeco.cuda.global.nccl;

/** Asks NCCL for its version; needs no GPU. */
public final class NcclProbe {
    static final String LIBRARY = "libnccl.so.2";

    private NcclProbe() {}

    /**
     * What there is: the host's, or else the one that the program brings along.
     *
     * @param limit after which a library that does not answer is given up
     */
    public static Nccl look(Duration limit) {
        Optional<String> absent = Library.absent(LIBRARY);
        if (absent.isEmpty() && !Library.missing(List.of("ncclGetVersion")).isEmpty()) {
            return Nccl.without(LIBRARY + " has no ncclGetVersion");
        }
        return Limited.call(
                "NCCL", limit, NcclProbe::ask, problem -> Nccl.without(absent.orElse(Library.cause(problem))));
    }

    private static Nccl ask() {
        int[] version = new int[1];
        int code = nccl.ncclGetVersion(version);
        return code == 0 ? new Nccl(Optional.empty(), version[0]) : Nccl.without("ncclGetVersion returned " + code);
    }
}
