package org.shardloom.kernels.cuda.probe;

import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;

/**
 * How a GPU is. What is absent, the device or this user's rights did not tell.
 *
 * @param index as NVML counts, which is nvidia-smi's count
 * @param problem why nothing is known of it, such as that it is lost
 * @param freeBytes of memory
 * @param processes that compute on it
 * @param ecc whether its memory corrects errors
 * @param uncorrectedErrors of memory since the driver was loaded
 * @param slowedBy what holds its clocks down now
 * @param celsius temperature
 * @param links NVLinks that are up
 * @param oneProcessOnly whether only one process may use it at a time
 * @param divided whether it is cut into instances (MIG)
 */
public record GpuState(
        int index,
        String name,
        String uuid,
        String pciBusId,
        Optional<String> problem,
        OptionalLong freeBytes,
        List<GpuProcess> processes,
        Optional<Boolean> ecc,
        OptionalLong uncorrectedErrors,
        Set<Throttle> slowedBy,
        OptionalInt celsius,
        int links,
        boolean oneProcessOnly,
        boolean divided) {
    public GpuState {
        pciBusId = Gpu.sameForm(pciBusId);
        processes = List.copyOf(processes);
        slowedBy = Set.copyOf(slowedBy);
    }

    /**
     * A process that holds memory of a GPU.
     *
     * @param pid in the namespace of the driver, which a container's is not
     * @param bytes of the GPU's memory; absent where the driver does not tell
     */
    public record GpuProcess(int pid, String name, OptionalLong bytes) {}

    /** What holds clocks down and is worth a word; that a device is idle is not. */
    public enum Throttle {
        POWER_LIMIT(0x4, "its power limit"),
        SLOWDOWN(0x8, "a slowdown of the hardware"),
        SOFTWARE_THERMAL(0x20, "its temperature"),
        HARDWARE_THERMAL(0x40, "its temperature, which the hardware does not bear"),
        POWER_BRAKE(0x80, "the power supply's brake");

        private final long bit;
        private final String words;

        Throttle(long bit, String words) {
            this.bit = bit;
            this.words = words;
        }

        public String words() {
            return words;
        }

        static Set<Throttle> of(long bits) {
            Set<Throttle> found = EnumSet.noneOf(Throttle.class);
            for (Throttle throttle : values()) {
                if ((bits & throttle.bit) != 0) {
                    found.add(throttle);
                }
            }
            return found;
        }
    }
}
