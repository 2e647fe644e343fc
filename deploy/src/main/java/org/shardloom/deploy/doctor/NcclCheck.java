package org.shardloom.deploy.doctor;

import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.shardloom.kernels.cuda.probe.Nccl;

/** NCCL, which carries what several workers exchange. */
final class NcclCheck implements Check {
    private static final String ADVICE =
            "install libnccl2 of CUDA 12, or build with -Pcuda-redist; a single worker (--workers 1) needs none";

    @Override
    public List<Finding> look(Situation situation) {
        if (situation.gpus().isEmpty()
                || !situation.gpusWanted() && situation.working().isEmpty()) {
            return List.of();
        }
        Nccl nccl = situation.gpus().get().nccl();
        boolean needed = situation.gpusWanted() && situation.workers() != 1;
        if (nccl.problem().isPresent()) {
            String found = "no NCCL: " + nccl.problem().get();
            if (!needed) {
                return List.of(Finding.warning("nccl", found, ADVICE));
            }
            return List.of(Finding.error("nccl", found, ADVICE));
        }
        if (nccl.version() < Nccl.OLDEST) {
            String found = "NCCL " + nccl.versionText() + " is too old: " + Nccl.text(Nccl.OLDEST) + " is needed";
            return List.of(needed ? Finding.error("nccl", found, ADVICE) : Finding.warning("nccl", found, ADVICE));
        }
        String settings = Stream.of("NCCL_P2P_DISABLE", "NCCL_SHM_DISABLE", "NCCL_IB_DISABLE", "NCCL_SOCKET_IFNAME")
                .filter(name -> System.getenv(name) != null)
                .map(name -> name + "=" + System.getenv(name))
                .collect(Collectors.joining(", "));
        return List.of(Finding.ok(
                "nccl",
                "NCCL " + nccl.versionText() + ": " + transport(situation)
                        + (settings.isEmpty() ? "" : "; the environment sets " + settings)));
    }

    private static String transport(Situation situation) {
        List<String> ways = situation.used().size() < 2
                ? List.of()
                : List.of(
                        new PeersCheck().look(situation).stream().allMatch(f -> f.status() == Finding.Status.OK)
                                ? "from GPU to GPU within the host"
                                : "through /dev/shm within the host");
        return Stream.concat(
                        ways.stream(),
                        situation.severalHosts() ? Stream.of("over the network between hosts") : Stream.empty())
                .collect(Collectors.collectingAndThen(
                        Collectors.joining(", "), text -> text.isEmpty() ? "nothing to carry" : text));
    }
}
