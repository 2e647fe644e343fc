package org.shardloom.kernels.cuda.probe;

import java.util.List;
import java.util.Optional;

/**
 * NVIDIA's driver and the devices that it shows to this process.
 *
 * @param problem why there are none, in one line
 * @param version of CUDA that the driver is made for: 12060 is 12.6; 0 where that is not known
 */
public record Driver(Optional<String> problem, int version, List<Gpu> gpus) {
    /** CUDA 12.0: the libraries that this program binds are those of CUDA 12, which all drivers from it on run. */
    public static final int OLDEST = 12000;

    public Driver {
        gpus = List.copyOf(gpus);
    }

    static Driver without(String problem, int version) {
        return new Driver(Optional.of(problem), version, List.of());
    }

    /** Those that the kernels run on. */
    public List<Gpu> fit() {
        return gpus.stream().filter(gpu -> gpu.unfit().isEmpty()).toList();
    }

    /** As people write it. */
    public String versionText() {
        return text(version);
    }

    static String text(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }
}
