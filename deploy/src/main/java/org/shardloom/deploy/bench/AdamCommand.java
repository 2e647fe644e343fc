package org.shardloom.deploy.bench;

import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code shardloom bench adam}. */
@Command(
        name = "adam",
        description =
                "AdamW in host memory: fp32 parameter, gradient and two moments (28 bytes moved per parameter), with and without writing "
                        + "a bf16 copy of the weights (30 bytes).",
        mixinStandardHelpOptions = true)
final class AdamCommand implements Callable<Integer> {
    @Option(
            names = "--parameters",
            paramLabel = "N",
            defaultValue = "100000000",
            description = "Number of parameters, 18 bytes of memory each; default: ${DEFAULT-VALUE}.")
    private long parameters;

    @Option(
            names = "--threads",
            paramLabel = "N",
            split = ",",
            description = "Numbers of threads, separated by commas; default: 1 and all processors.")
    private List<Integer> threads;

    @Mixin
    private CommonOptions common;

    @Override
    public Integer call() {
        common.check();
        common.require(
                parameters >= 1 && parameters <= 10_000_000_000L,
                "--parameters is from 1 to 10000000000, found " + parameters);
        if (threads == null) {
            threads = Stream.of(1, Runtime.getRuntime().availableProcessors())
                    .distinct()
                    .toList();
        }
        common.require(threads.stream().allMatch(t -> t >= 1), "--threads is at least 1, found " + threads);
        Report report = new Report("adam")
                .fact("parameters", parameters)
                .fact("warmup_steps", common.warmup)
                .fact("measured_steps", common.steps);
        try (HostBlocks blocks = new HostBlocks()) {
            Tensor[] state = new Tensor[4];
            for (int i = 0; i < state.length; i++) {
                state[i] = blocks.allocate(DType.F32, parameters);
                NativeCpu.fill(state[i].address(), 0, state[i].bytes());
            }
            Tensor copy = blocks.allocate(DType.BF16, parameters);
            NativeCpu.fill(copy.address(), 0, copy.bytes());
            for (int count : threads) {
                NativeCpu.useThreads(count);
                measure(report, count, state, null);
                measure(report, count, state, copy);
            }
        }
        common.print(report);
        return 0;
    }

    private void measure(Report report, int count, Tensor[] state, Tensor copy) {
        int bytesEach = copy == null ? 28 : 30;
        Samples seconds = Samples.time(common.warmup, common.steps, () -> update(state, copy));
        report.row(Report.rowOf(
                "threads",
                count,
                "bf16_copy",
                copy != null,
                "bytes_per_param",
                bytesEach,
                "ns_per_param",
                seconds.median() / parameters * 1e9,
                "ns_per_param_min",
                seconds.min() / parameters * 1e9,
                "ns_per_param_max",
                seconds.max() / parameters * 1e9,
                "bytes_per_second",
                bytesEach * parameters / seconds.median()));
    }

    private void update(Tensor[] state, Tensor copy) {
        NativeCpu.adamw(
                state[0].address(),
                state[1].address(),
                state[2].address(),
                state[3].address(),
                copy == null ? 0 : copy.address(),
                DType.BF16.code,
                parameters,
                1e-4f,
                0.9,
                0.95,
                1e-8f,
                0.1f,
                0.1f,
                0.05f,
                1);
    }
}
