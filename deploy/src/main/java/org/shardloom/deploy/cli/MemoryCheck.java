package org.shardloom.deploy.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.shardloom.deploy.doctor.Bytes;
import org.shardloom.deploy.launch.Run.RunException;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.generate.MemoryNeed;

/**
 * Whether there is memory for a model, before it is loaded.
 *
 * @param needs what it takes
 * @param freeGpu bytes of the GPU that is to compute; empty for processors
 * @param freeHost bytes that this process can have without swapping; Long.MAX_VALUE where that is not known
 * @param freeSwap bytes besides
 */
record MemoryCheck(Needs needs, OptionalLong freeGpu, long freeHost, long freeSwap) {
    /** What a model takes, by how it is computed. */
    @FunctionalInterface
    interface Needs {
        MemoryNeed of(DType dtype, boolean processors);
    }

    /**
     * Refuses a model that does not fit.
     *
     * @param smaller what makes the need less, besides its parameters, as in "a smaller --max-new-tokens"
     * @return what the user should know where it fits, but not well
     * @throws RunException in one line, with what would help
     */
    Optional<String> require(DType dtype, String smaller) throws RunException {
        if (freeGpu.isEmpty() && freeHost == Long.MAX_VALUE) {
            return Optional.empty(); // it is not known
        }
        MemoryNeed need = needs.of(dtype, freeGpu.isEmpty());
        long available = freeGpu.orElse(freeHost);
        if (need.bytes() <= available) {
            return Optional.empty();
        }
        String problem = "the model needs " + Bytes.text(need.bytes())
                + (freeGpu.isPresent() ? " of the GPU's memory in " : " of host memory in ")
                + ComputeFlags.name(dtype) + " (" + Bytes.text(need.parameters()) + " for its parameters, "
                + Bytes.text(need.use()) + " for keys, values and activations), and " + Bytes.text(available)
                + (freeGpu.isPresent() ? " are free: " : " are available: ");
        String advice = advice(dtype, need, available, smaller);
        if (freeGpu.isEmpty() && need.bytes() - available <= freeSwap) {
            return Optional.of(problem + "it will swap, which makes it many times as slow; " + advice);
        }
        throw new RunException(problem + advice);
    }

    private String advice(DType dtype, MemoryNeed need, long available, String smaller) {
        String half = "";
        if (dtype == DType.F32) {
            long bytes = needs.of(DType.BF16, freeGpu.isEmpty()).bytes();
            if (bytes <= available) {
                return "use --dtype bf16, which needs " + Bytes.text(bytes);
            }
            half = "--dtype bf16 and ";
        }
        List<String> ways = new ArrayList<>();
        if (need.parameters() < available) {
            ways.add(half + smaller);
        }
        ways.add(
                freeGpu.isEmpty()
                        ? half + "--device cuda where a GPU has as much"
                        : onHost(dtype).orElse(half + "a GPU with more memory"));
        return "use " + String.join(", or ", ways) + ", or free some memory";
    }

    /** The processors instead of the GPU, where that fits. */
    private Optional<String> onHost(DType dtype) {
        for (DType other : dtype == DType.F32 ? List.of(dtype, DType.BF16) : List.of(dtype)) {
            long bytes = needs.of(other, true).bytes();
            if (bytes <= freeHost && freeHost != Long.MAX_VALUE) {
                return Optional.of("--device cpu" + (other == dtype ? "" : " --dtype bf16") + ", which needs "
                        + Bytes.text(bytes) + " of host memory, of which " + Bytes.text(freeHost) + " are available");
            }
        }
        return Optional.empty();
    }
}
