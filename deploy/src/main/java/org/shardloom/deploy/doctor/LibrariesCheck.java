package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.shardloom.kernels.cuda.probe.CudaLibrariesProbe;
import org.shardloom.kernels.cuda.probe.CudaLibrary;

/** CUDA's libraries beside the driver, which every worker on a GPU loads: the host's, or those that the program brings along. */
final class LibrariesCheck implements Check {
    private static final String ADVICE = " of CUDA 12 where the dynamic linker finds it (or name its directory in "
            + "LD_LIBRARY_PATH), or build with -Pcuda-redist, which brings it along";

    @Override
    public List<Finding> look(Situation situation) {
        if (situation.gpus().isEmpty()
                || !situation.gpusWanted() && situation.working().isEmpty()) {
            return List.of();
        }
        List<Finding> findings = new ArrayList<>();
        List<CudaLibrary> all = situation.gpus().get().libraries().stream()
                .filter(library -> isLoaded(library, situation))
                .toList();
        for (CudaLibrary library : all) {
            if (library.isMissing()) {
                String found = "no " + library.name() + ": " + library.problem().get();
                String advice = "install " + library.file() + ADVICE;
                findings.add(
                        situation.gpusWanted()
                                ? Finding.error("libraries", found, advice)
                                : Finding.warning("libraries", found, advice));
            }
        }
        if (findings.isEmpty()) {
            findings.add(Finding.ok(
                    "libraries",
                    all.stream()
                            .map(library -> library.name() + " (" + library.file() + ") "
                                    + (library.problem().isEmpty() ? "of the host" : "brought along"))
                            .collect(Collectors.joining(", "))));
        }
        return findings;
    }

    /** A single worker loads no NCCL, and without that no runtime but NVML's. */
    private static boolean isLoaded(CudaLibrary library, Situation situation) {
        return !library.file().equals(CudaLibrariesProbe.RUNTIME) || situation.workers() != 1;
    }
}
