package org.shardloom.deploy.cli;

import java.io.IOException;
import java.util.Locale;
import java.util.function.Consumer;
import org.shardloom.deploy.doctor.HostFacts;
import org.shardloom.deploy.launch.Run.RunException;
import org.shardloom.kernels.cuda.CudaException;
import org.shardloom.kernels.cuda.probe.DriverProbe;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.DeviceChoice;
import org.shardloom.protocol.config.Precision;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.MemoryNeed;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.loop.WorkerDevice;
import picocli.CommandLine.Option;

/** What a model is computed on, and in which precision. */
final class ComputeFlags {
    @Option(
            names = "--device",
            defaultValue = "auto",
            paramLabel = "auto|cpu|cuda",
            description =
                    "What computes; auto: a GPU where one can be used, else the processors; default: ${DEFAULT-VALUE}.")
    private DeviceChoice device;

    @Option(
            names = "--dtype",
            paramLabel = "fp32|bf16|fp16",
            description =
                    "Precision of weights, keys, values and activations; default: that of the model's files (of a checkpoint's"
                            + " training), but on processors bf16 for fp16. A parameter takes 4 bytes in fp32 and 2 in 16 bits: a model of"
                            + " 6.2 billion 25 GB or 12.5 GB, and some more. A base that QLoRA has quantised stays so: half a byte each. What"
                            + " does not fit is refused before it is loaded.")
    private Precision dtype;

    /** Whether there is a GPU that kernels run on. */
    private static boolean hasGpu() {
        return JobDevice.processors(DriverProbe.look(JobDevice.DRIVER_PATIENCE)).isEmpty();
    }

    /**
     * Opens what was asked for.
     *
     * @throws RunException in one line, when it is a GPU and there is none that can be used
     */
    WorkerDevice open() throws RunException {
        int threads = Runtime.getRuntime().availableProcessors();
        if (device == DeviceChoice.CPU || device == DeviceChoice.AUTO && !hasGpu()) {
            return WorkerDevice.ofProcessors(threads);
        }
        try {
            return WorkerDevice.ofGpu();
        } catch (CudaException | LinkageError e) {
            if (device == DeviceChoice.CUDA) {
                throw new RunException(e.getMessage());
            }
            System.err.println("computing on the processors, for no GPU can be used: " + e.getMessage());
            return WorkerDevice.ofProcessors(threads);
        }
    }

    /**
     * Reads the model, if there is memory for it.
     *
     * @param on outlives the model
     * @param positions longest sequence that will be seen
     * @param use does with the model, on paper, what takes most memory
     * @param smaller what makes that less, as in "a smaller --max-new-tokens"
     * @throws RunException in one line that says what to do, when there is not
     */
    LoadedModel load(ModelSource source, WorkerDevice on, int positions, Consumer<LoadedModel> use, String smaller)
            throws IOException, RunException {
        boolean gpu = on.freeGpuBytes().isPresent();
        DType type = dtype(source, gpu);
        HostFacts host = HostFacts.read();
        MemoryCheck check = new MemoryCheck(
                (as, processors) -> MemoryNeed.of(source.model(), as, processors, positions, use),
                on.freeGpuBytes(),
                host.availableMemory(),
                host.freeSwap());
        check.require(type, smaller).ifPresent(warning -> System.err.println("warning: " + warning));
        return LoadedModel.open(source, on.get(), type, positions);
    }

    /** Few processors multiply fp16 at all well. */
    private DType dtype(ModelSource source, boolean gpu) {
        Precision chosen = dtype != null ? dtype : source.precision();
        return switch (chosen) {
            case FP32 -> DType.F32;
            case BF16 -> DType.BF16;
            case FP16 -> gpu || dtype != null ? DType.F16 : DType.BF16;
        };
    }

    /** As a user writes it. */
    static String name(DType dtype) {
        return (dtype == DType.BF16 ? Precision.BF16 : dtype == DType.F16 ? Precision.FP16 : Precision.FP32)
                .name()
                .toLowerCase(Locale.ROOT);
    }
}
