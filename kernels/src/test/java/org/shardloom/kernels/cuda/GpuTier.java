package org.shardloom.kernels.cuda;

import java.time.Duration;
import java.util.Optional;
import java.util.stream.Collectors;
import org.shardloom.kernels.cuda.probe.CudaLibrariesProbe;
import org.shardloom.kernels.cuda.probe.CudaLibrary;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.DriverProbe;
import org.shardloom.kernels.cuda.probe.Gpu;

/**
 * Whether tests of the CUDA device run over the simulated driver, as they do unless told otherwise, or, with {@code
 * -Dshardloom.test.driver=real} (Maven profile {@code gpu}), on this host's GPUs, and are skipped where there are too few.
 */
public final class GpuTier {
    /** Of the property that chooses. */
    public static final String DRIVER = "shardloom.test.driver";

    static final String REAL = "real";
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static Driver driver;

    private GpuTier() {}

    static boolean real() {
        String chosen = System.getProperty(DRIVER, "simulated");
        if (!chosen.equals(REAL) && !chosen.equals("simulated")) {
            throw new IllegalArgumentException(DRIVER + " is simulated or real, found '" + chosen + "'");
        }
        return chosen.equals(REAL);
    }

    private static synchronized Driver driver() {
        driver = driver == null ? DriverProbe.look(PATIENCE) : driver;
        return driver;
    }

    /** GPUs that the real driver shows. */
    static int count() {
        return driver().fit().size();
    }

    /** Why nothing can run on so many GPUs here; nothing where it can. */
    static Optional<String> missing(int gpus) {
        return missing(driver(), gpus).or(GpuTier::missingLibrary);
    }

    /** A driver alone is not enough. */
    private static Optional<String> missingLibrary() {
        return CudaLibrariesProbe.look(PATIENCE).stream()
                .filter(CudaLibrary::isMissing)
                .map(library ->
                        "no " + library.name() + ": " + library.problem().orElse(""))
                .findFirst();
    }

    static Optional<String> missing(Driver found, int gpus) {
        if (found.problem().isPresent()) {
            return found.problem();
        }
        int count = found.fit().size();
        return count >= gpus ? Optional.empty() : Optional.of("it needs " + gpus + " GPUs, and there are " + count);
    }

    /** One line for whoever runs the build. */
    static String line(Driver found) {
        return missing(found, 1)
                .map(reason -> "GPU tests: SKIPPED, " + reason)
                .orElseGet(() -> "GPU tests: on "
                        + found.gpus().stream().map(Gpu::name).collect(Collectors.joining(", "))
                        + (found.gpus().size() < 4 ? "; those of more ranks than GPUs are skipped" : ""));
    }

    /** Prints the line. */
    public static void main(String[] args) {
        System.out.println(
                missing(1).map(reason -> "GPU tests: SKIPPED, " + reason).orElseGet(() -> line(driver())));
    }
}
