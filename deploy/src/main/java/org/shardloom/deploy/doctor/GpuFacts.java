package org.shardloom.deploy.doctor;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.shardloom.kernels.cuda.probe.CudaLibrariesProbe;
import org.shardloom.kernels.cuda.probe.CudaLibrary;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.DriverProbe;
import org.shardloom.kernels.cuda.probe.Nccl;
import org.shardloom.kernels.cuda.probe.NcclProbe;
import org.shardloom.kernels.cuda.probe.Nvml;
import org.shardloom.kernels.cuda.probe.NvmlProbe;

/**
 * What this host has of NVIDIA's.
 *
 * @param libraries of CUDA's that workers load
 * @param visible the variable CUDA_VISIBLE_DEVICES
 */
public record GpuFacts(Driver driver, Nvml nvml, Nccl nccl, List<CudaLibrary> libraries, Optional<String> visible) {
    private static final Duration LIMIT = Duration.ofSeconds(20);

    /** Asks driver and libraries. */
    public static GpuFacts read() {
        // First: bindings of NVML and NCCL load a runtime that is brought along, and then it would pass for the host's.
        List<CudaLibrary> libraries = CudaLibrariesProbe.look(LIMIT);
        return new GpuFacts(
                DriverProbe.look(LIMIT),
                NvmlProbe.look(LIMIT),
                NcclProbe.look(LIMIT),
                libraries,
                Optional.ofNullable(System.getenv("CUDA_VISIBLE_DEVICES")));
    }
}
