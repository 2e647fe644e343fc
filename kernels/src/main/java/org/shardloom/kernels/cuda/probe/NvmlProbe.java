package org.shardloom.kernels.cuda.probe;

import static org.bytedeco.cuda.global.nvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS;
import static org.bytedeco.cuda.global.nvml.NVML_ERROR_INSUFFICIENT_SIZE;
import static org.bytedeco.cuda.global.nvml.NVML_FEATURE_ENABLED;
import static org.bytedeco.cuda.global.nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED;
import static org.bytedeco.cuda.global.nvml.NVML_NVLINK_MAX_LINKS;
import static org.bytedeco.cuda.global.nvml.NVML_TEMPERATURE_GPU;
import static org.bytedeco.cuda.global.nvml.NVML_VOLATILE_ECC;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import org.bytedeco.cuda.global.nvml;
import org.bytedeco.cuda.nvml.nvmlDevice_st;
import org.bytedeco.cuda.nvml.nvmlMemory_t;
import org.bytedeco.cuda.nvml.nvmlPciInfo_t;
import org.bytedeco.cuda.nvml.nvmlProcessInfo_v2_t;
import org.bytedeco.javacpp.BytePointer;
import org.shardloom.kernels.cuda.probe.GpuState.GpuProcess;
import org.shardloom.kernels.cuda.probe.GpuState.Throttle;

/** Asks NVIDIA's management library how the GPUs are. */
public final class NvmlProbe {
    static final String LIBRARY = "libnvidia-ml.so.1";

    /** Called below. One that an old library lacks would end the process. */
    private static final List<String> FUNCTIONS = List.of(
            "nvmlInit_v2",
            "nvmlShutdown",
            "nvmlErrorString",
            "nvmlSystemGetDriverVersion",
            "nvmlSystemGetProcessName",
            "nvmlDeviceGetCount_v2",
            "nvmlDeviceGetHandleByIndex_v2",
            "nvmlDeviceGetName",
            "nvmlDeviceGetUUID",
            "nvmlDeviceGetPciInfo_v3",
            "nvmlDeviceGetMemoryInfo",
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetEccMode",
            "nvmlDeviceGetTotalEccErrors",
            "nvmlDeviceGetCurrentClocksThrottleReasons",
            "nvmlDeviceGetTemperature",
            "nvmlDeviceGetNvLinkState",
            "nvmlDeviceGetComputeMode",
            "nvmlDeviceGetMigMode");

    private NvmlProbe() {}

    /**
     * What it says.
     *
     * @param limit after which a library that does not answer is given up
     */
    public static Nvml look(Duration limit) {
        Optional<String> absent = Library.absent(LIBRARY);
        if (absent.isPresent()) {
            return Nvml.without(absent.get());
        }
        List<String> missing = Library.missing(FUNCTIONS);
        if (!missing.isEmpty()) {
            return Nvml.without(LIBRARY + " is too old: it has no " + String.join(", ", missing));
        }
        return Limited.call("NVML", limit, NvmlProbe::ask, problem -> Nvml.without(Library.cause(problem)));
    }

    private static Nvml ask() {
        int code = nvml.nvmlInit_v2();
        if (code != 0) {
            return Nvml.without("nvmlInit returned " + named(code));
        }
        try {
            byte[] driver = new byte[96];
            nvml.nvmlSystemGetDriverVersion(driver, driver.length);
            int[] count = new int[1];
            code = nvml.nvmlDeviceGetCount_v2(count);
            if (code != 0) {
                return Nvml.without("nvmlDeviceGetCount returned " + named(code));
            }
            List<GpuState> gpus = new ArrayList<>();
            for (int i = 0; i < count[0]; i++) {
                gpus.add(state(i));
            }
            return new Nvml(Optional.empty(), DriverProbe.text(driver), gpus);
        } finally {
            nvml.nvmlShutdown();
        }
    }

    private static GpuState state(int index) {
        nvmlDevice_st device = new nvmlDevice_st();
        int code = nvml.nvmlDeviceGetHandleByIndex_v2(index, device);
        if (code != 0) {
            return unknown(index, "nvmlDeviceGetHandleByIndex returned " + named(code));
        }
        byte[] name = new byte[96];
        byte[] uuid = new byte[96];
        nvml.nvmlDeviceGetName(device, name, name.length);
        nvml.nvmlDeviceGetUUID(device, uuid, uuid.length);
        nvmlMemory_t memory = new nvmlMemory_t();
        code = nvml.nvmlDeviceGetMemoryInfo(device, memory);
        boolean lost = code == nvml.NVML_ERROR_GPU_IS_LOST || code == nvml.NVML_ERROR_RESET_REQUIRED;
        int[] value = new int[1];
        int[] pending = new int[1];
        long[] errors = new long[1];
        long[] bits = new long[1];
        Optional<Boolean> ecc = nvml.nvmlDeviceGetEccMode(device, value, pending) == 0
                ? Optional.of(value[0] == NVML_FEATURE_ENABLED)
                : Optional.empty();
        boolean counted =
                nvml.nvmlDeviceGetTotalEccErrors(device, NVML_MEMORY_ERROR_TYPE_UNCORRECTED, NVML_VOLATILE_ECC, errors)
                        == 0;
        boolean throttles = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device, bits) == 0;
        OptionalInt celsius = nvml.nvmlDeviceGetTemperature(device, NVML_TEMPERATURE_GPU, value) == 0
                ? OptionalInt.of(value[0])
                : OptionalInt.empty();
        boolean alone =
                nvml.nvmlDeviceGetComputeMode(device, value) == 0 && value[0] == NVML_COMPUTEMODE_EXCLUSIVE_PROCESS;
        boolean divided = nvml.nvmlDeviceGetMigMode(device, value, pending) == 0 && value[0] == NVML_FEATURE_ENABLED;
        return new GpuState(
                index,
                DriverProbe.text(name),
                DriverProbe.text(uuid),
                busId(device),
                lost ? Optional.of("nvmlDeviceGetMemoryInfo returned " + named(code)) : Optional.empty(),
                code == 0 ? OptionalLong.of(memory._free()) : OptionalLong.empty(),
                processes(device),
                ecc,
                counted ? OptionalLong.of(errors[0]) : OptionalLong.empty(),
                throttles ? Throttle.of(bits[0]) : Set.of(),
                celsius,
                links(device),
                alone,
                divided);
    }

    private static GpuState unknown(int index, String problem) {
        return new GpuState(
                index,
                "",
                "",
                "",
                Optional.of(problem),
                OptionalLong.empty(),
                List.of(),
                Optional.empty(),
                OptionalLong.empty(),
                Set.of(),
                OptionalInt.empty(),
                0,
                false,
                false);
    }

    private static String busId(nvmlDevice_st device) {
        nvmlPciInfo_t pci = new nvmlPciInfo_t();
        if (nvml.nvmlDeviceGetPciInfo_v3(device, pci) != 0) {
            return "";
        }
        byte[] text = new byte[32];
        pci.busId().get(text);
        return DriverProbe.text(text);
    }

    /** A device without NVLink refuses the first. */
    private static int links(nvmlDevice_st device) {
        int up = 0;
        int[] state = new int[1];
        for (int link = 0; link < NVML_NVLINK_MAX_LINKS; link++) {
            if (nvml.nvmlDeviceGetNvLinkState(device, link, state) != 0) {
                break;
            }
            up += state[0];
        }
        return up;
    }

    private static List<GpuProcess> processes(nvmlDevice_st device) {
        int room = 64;
        while (room <= 4096) {
            int[] count = {room};
            nvmlProcessInfo_v2_t found = new nvmlProcessInfo_v2_t(room);
            int code = nvml.nvmlDeviceGetComputeRunningProcesses_v3(device, count, found);
            if (code == 0) {
                List<GpuProcess> processes = new ArrayList<>();
                for (int i = 0; i < count[0]; i++) {
                    nvmlProcessInfo_v2_t one = found.getPointer(i);
                    long bytes = one.usedGpuMemory();
                    processes.add(new GpuProcess(
                            one.pid(),
                            processName(one.pid()),
                            bytes < 0 ? OptionalLong.empty() : OptionalLong.of(bytes)));
                }
                return processes;
            }
            if (code != NVML_ERROR_INSUFFICIENT_SIZE) {
                return List.of();
            }
            room *= 4;
        }
        return List.of();
    }

    private static String processName(int pid) {
        byte[] name = new byte[256];
        if (nvml.nvmlSystemGetProcessName(pid, name, name.length) == 0) {
            String path = DriverProbe.text(name);
            return path.substring(path.lastIndexOf('/') + 1);
        }
        return "";
    }

    private static String named(int code) {
        BytePointer text = nvml.nvmlErrorString(code);
        return code + (text == null || text.isNull() ? "" : ", " + text.getString());
    }
}
