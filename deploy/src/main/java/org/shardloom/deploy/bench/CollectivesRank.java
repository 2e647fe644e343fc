package org.shardloom.deploy.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Collectives of one rank, one after the other; each repetition begins together. */
final class CollectivesRank {
    private CollectivesRank() {}

    /**
     * What the ranks do.
     *
     * @param sizes of the whole tensor, in bytes
     */
    record Setup(List<Long> sizes, int warmup, int steps) {}

    /**
     * One operation.
     *
     * @param operands {@code shared}: in memory that peers read in place; {@code plain}: anywhere
     * @param seconds of each measured repetition
     */
    record Measured(String operation, String dtype, String operands, long bytes, List<Double> seconds) {}

    /** What one rank measured, in the same order on all ranks. */
    record Result(List<Measured> measured) {}

    static Result run(Setup setup, Collectives joined) {
        try (Collectives group = joined;
                HostBlocks blocks = new HostBlocks()) {
            long largest = setup.sizes.stream().mapToLong(Long::longValue).max().orElseThrow();
            Tensor plain = filled(blocks.allocate(DType.F32, largest / 4));
            Tensor target = filled(blocks.allocate(DType.F32, largest / 4));
            boolean sharing = group.transport().equals("shm");
            Tensor shared = sharing ? filled(group.allocateShared(DType.F32, largest / 4)) : null;
            List<Measured> measured = new ArrayList<>();
            for (long bytes : setup.sizes) {
                measured.addAll(measure(setup, group, "plain", plain, target, bytes));
                if (sharing) {
                    measured.addAll(measure(setup, group, "shared", shared, target, bytes));
                }
            }
            return new Result(measured);
        }
    }

    private static Tensor filled(Tensor tensor) {
        NativeCpu.fill(tensor.address(), 0, tensor.bytes());
        return tensor;
    }

    private static List<Measured> measure(
            Setup setup, Collectives group, String operands, Tensor source, Tensor target, long bytes) {
        List<Measured> all = new ArrayList<>();
        Tensor gathered = as(target, DType.BF16, bytes);
        Tensor slice = as(source, DType.BF16, bytes / group.size());
        all.add(new Measured(
                "all_gather", "bf16", operands, bytes, time(setup, group, () -> group.allGather(gathered, slice))));
        for (DType dtype : List.of(DType.BF16, DType.F32)) {
            Tensor full = as(source, dtype, bytes);
            Tensor sum = new Tensor(target.address(), DType.F32, full.elements() / group.size());
            all.add(new Measured(
                    "reduce_scatter",
                    BenchModel.nameOf(dtype),
                    operands,
                    bytes,
                    time(setup, group, () -> group.reduceScatter(sum, full, dtype, false))));
        }
        Tensor whole = as(source, DType.F32, bytes);
        all.add(new Measured("all_reduce", "fp32", operands, bytes, time(setup, group, () -> group.allReduce(whole))));
        return all;
    }

    /** The first bytes of the block, as elements of the dtype. */
    private static Tensor as(Tensor block, DType dtype, long bytes) {
        return new Tensor(block.address(), dtype, bytes / dtype.bytes);
    }

    private static List<Double> time(Setup setup, Collectives group, Supplier<Pending> operation) {
        List<Double> seconds = new ArrayList<>();
        for (int i = 0; i < setup.warmup + setup.steps; i++) {
            group.barrier().await();
            long start = System.nanoTime();
            operation.get().await();
            if (i >= setup.warmup) {
                seconds.add((System.nanoTime() - start) * 1e-9);
            }
        }
        return seconds;
    }
}
