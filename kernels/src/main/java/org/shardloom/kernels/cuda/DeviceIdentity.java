package org.shardloom.kernels.cuda;

import java.util.HexFormat;
import jcuda.driver.CUdevice;
import jcuda.driver.CUuuid;
import jcuda.driver.JCudaDriver;

/**
 * What tells a GPU from every other one, whatever ordinal a process sees it by.
 *
 * @param uuid of the GPU, in hexadecimal
 * @param pciBusId its place in this host
 */
public record DeviceIdentity(String uuid, String pciBusId) {
    private static final int ID_BYTES = 32;

    static DeviceIdentity of(Calls calls, CUdevice device) {
        CUuuid uuid = new CUuuid();
        calls.check(JCudaDriver.cuDeviceGetUuid(uuid, device), "cuDeviceGetUuid");
        String[] place = new String[1];
        calls.check(JCudaDriver.cuDeviceGetPCIBusId(place, ID_BYTES, device), "cuDeviceGetPCIBusId");
        return new DeviceIdentity(HexFormat.of().formatHex(uuid.bytes), place[0].strip());
    }

    @Override
    public String toString() {
        return "GPU " + uuid + " at " + pciBusId;
    }
}
