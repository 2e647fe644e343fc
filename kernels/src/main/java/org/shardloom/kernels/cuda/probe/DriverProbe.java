package org.shardloom.kernels.cuda.probe;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdevice_attribute;
import jcuda.driver.CUresult;
import jcuda.driver.CUuuid;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cuda.Natives;

/** Asks the driver for its devices. */
public final class DriverProbe {
    static final String LIBRARY = "libcuda.so.1";
    private static final int NO_DEVICE = 100;

    private DriverProbe() {}

    /**
     * What there is.
     *
     * @param limit after which a driver that does not answer is given up
     */
    public static Driver look(Duration limit) {
        Optional<String> absent = Library.absent(LIBRARY);
        if (absent.isPresent()) {
            return Driver.without("no NVIDIA driver: " + absent.get(), 0);
        }
        return Limited.call(
                "the driver",
                limit,
                DriverProbe::ask,
                problem -> Driver.without("the NVIDIA driver does not work: " + problem, 0));
    }

    private static Driver ask() {
        Natives.loadDriver();
        int[] value = new int[1];
        int code = JCudaDriver.cuDriverGetVersion(value);
        int version = code == 0 ? value[0] : 0;
        if (version > 0 && version < Driver.OLDEST) {
            return Driver.without(
                    "the NVIDIA driver is too old: it is made for CUDA " + Driver.text(version) + ", and "
                            + Driver.text(Driver.OLDEST) + " is needed",
                    version);
        }
        code = JCudaDriver.cuInit(0);
        if (code == NO_DEVICE) {
            String visible = System.getenv("CUDA_VISIBLE_DEVICES");
            return Driver.without(
                    "the NVIDIA driver shows no GPU"
                            + (visible == null ? "" : " (CUDA_VISIBLE_DEVICES is '" + visible + "')"),
                    version);
        }
        if (code != 0) {
            return Driver.without("the NVIDIA driver does not work: cuInit returned " + named(code), version);
        }
        int[] count = new int[1];
        code = JCudaDriver.cuDeviceGetCount(count);
        if (code != 0) {
            return Driver.without("the NVIDIA driver does not work: cuDeviceGetCount returned " + named(code), version);
        }
        List<CUdevice> devices = new ArrayList<>();
        for (int i = 0; i < count[0]; i++) {
            CUdevice device = new CUdevice();
            code = JCudaDriver.cuDeviceGet(device, i);
            if (code != 0) {
                return Driver.without("GPU " + i + " does not work: cuDeviceGet returned " + named(code), version);
            }
            devices.add(device);
        }
        List<Gpu> gpus = new ArrayList<>();
        for (int i = 0; i < devices.size(); i++) {
            try {
                gpus.add(gpu(devices, i));
            } catch (Refused e) {
                return Driver.without("GPU " + i + " does not work: " + e.getMessage(), version);
            }
        }
        return new Driver(Optional.empty(), version, gpus);
    }

    private static final class Refused extends Exception {
        Refused(String message) {
            super(message);
        }
    }

    private static void check(int code, String call) throws Refused {
        if (code != 0) {
            throw new Refused(call + " returned " + named(code));
        }
    }

    private static Gpu gpu(List<CUdevice> devices, int ordinal) throws Refused {
        CUdevice device = devices.get(ordinal);
        byte[] name = new byte[256];
        check(JCudaDriver.cuDeviceGetName(name, name.length, device), "cuDeviceGetName");
        long[] total = new long[1];
        check(JCudaDriver.cuDeviceTotalMem(total, device), "cuDeviceTotalMem");
        String[] bus = {""};
        check(JCudaDriver.cuDeviceGetPCIBusId(bus, 32, device), "cuDeviceGetPCIBusId");
        CUuuid uuid = new CUuuid();
        String id = JCudaDriver.cuDeviceGetUuid(uuid, device) == 0 ? text(uuid) : "";
        Set<Integer> peers = new TreeSet<>();
        for (int other = 0; other < devices.size(); other++) {
            int[] reaches = new int[1];
            if (other != ordinal
                    && JCudaDriver.cuDeviceCanAccessPeer(reaches, device, devices.get(other)) == 0
                    && reaches[0] != 0) {
                peers.add(other);
            }
        }
        return new Gpu(
                ordinal,
                text(name),
                id,
                bus[0] == null ? "" : bus[0],
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
                attribute(device, CUdevice_attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
                total[0],
                peers);
    }

    private static int attribute(CUdevice device, int attribute) throws Refused {
        int[] value = new int[1];
        check(
                JCudaDriver.cuDeviceGetAttribute(value, attribute, device),
                "cuDeviceGetAttribute(" + CUdevice_attribute.stringFor(attribute) + ")");
        return value[0];
    }

    private static String text(CUuuid uuid) {
        StringBuilder text = new StringBuilder("GPU-");
        for (int i = 0; i < 16; i++) {
            text.append(i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "")
                    .append("%02x".formatted(uuid.bytes[i] & 0xff));
        }
        return text.toString();
    }

    /** Up to the first zero. */
    static String text(byte[] bytes) {
        int length = 0;
        while (length < bytes.length && bytes[length] != 0) {
            length++;
        }
        return new String(bytes, 0, length, StandardCharsets.UTF_8);
    }

    private static String named(int code) {
        return code + ", " + CUresult.stringFor(code);
    }
}
