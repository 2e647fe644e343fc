package org.shardloom.kernels.cpu;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Prints how fast the kernels are here; asserts nothing and is no test. Run its {@code main} from the test class path, with
 * {@code SHARDLOOM_ISA=baseline}, {@code avx2} or {@code avx512} in the environment to see another instruction set.
 */
final class KernelFigures {
    private static final long TOKENS = 2048, WIDE = 2752, HIDDEN = 512;

    private KernelFigures() {}

    public static void main(String[] arguments) {
        System.out.println("instruction set " + NativeCpu.instructionSet());
        for (int threads = 1; threads <= 2; threads++) {
            NativeCpu.useThreads(threads);
            try (CpuDevice device = new CpuDevice(threads);
                    Memory memory = device.memory(Purpose.WORKSPACE)) {
                for (DType dtype : DType.values()) {
                    products(device, memory, dtype, threads);
                    attention(device, memory, dtype, threads);
                }
                adamw(memory, threads);
            }
        }
    }

    private static void products(CpuDevice device, Memory memory, DType dtype, int threads) {
        Tensor x = random(device, memory, dtype, TOKENS, HIDDEN);
        Tensor weight = random(device, memory, dtype, WIDE, HIDDEN);
        Tensor y = random(device, memory, dtype, TOKENS, WIDE);
        Tensor gradX = memory.allocate(dtype, TOKENS, HIDDEN);
        Tensor gradWeight = memory.allocate(DType.F32, WIDE, HIDDEN);
        Ops ops = device.ops();
        double flops = 2.0 * TOKENS * WIDE * HIDDEN;
        String label = dtype + " " + threads + " threads ";
        int type = dtype.code;
        rate(label + "linear", flops, () -> ops.linear(y, x, weight));
        rate(label + "linear own", flops, () -> own(TOKENS, WIDE, HIDDEN, x, HIDDEN, 1, weight, 1, HIDDEN, y, WIDE));
        rate(label + "backward input", flops, () -> ops.linearBackwardInput(gradX, y, weight, false));
        rate(
                label + "backward input own",
                flops,
                () -> own(TOKENS, HIDDEN, WIDE, y, WIDE, 1, weight, HIDDEN, 1, gradX, HIDDEN));
        rate(label + "backward weight", flops, () -> ops.linearBackwardWeight(gradWeight, y, x, false));
        rate(
                label + "backward weight own",
                flops,
                () -> own(WIDE, HIDDEN, TOKENS, y, 1, WIDE, x, HIDDEN, 1, gradWeight, HIDDEN));
        for (Tensor t : new Tensor[] {x, weight, y, gradX, gradWeight}) {
            memory.free(t);
        }
    }

    private static void own(
            long m, long n, long k, Tensor a, long ar, long ac, Tensor b, long br, long bc, Tensor c, long ldc) {
        NativeCpu.gemmOwn(
                m,
                n,
                k,
                a.address(),
                a.dtype().code,
                ar,
                ac,
                b.address(),
                b.dtype().code,
                br,
                bc,
                c.address(),
                c.dtype().code,
                ldc,
                false);
    }

    private static void attention(CpuDevice device, Memory scope, DType dtype, int threads) {
        AttentionShape shape = new AttentionShape(8, 2, 64, 64, false);
        int sequences = 8, length = 256;
        long tokens = sequences * (long) length;
        int[] starts = new int[sequences + 1];
        for (int s = 0; s <= sequences; s++) {
            starts[s] = s * length;
        }
        try (Memory memory = device.memory(Purpose.WORKSPACE)) {
            var first = Inputs.indices(device, memory, starts);
            Tensor qkv = random(device, memory, dtype, tokens, shape.qkvWidth());
            Tensor context = memory.allocate(dtype, tokens, shape.contextWidth());
            Tensor gradContext = random(device, memory, dtype, tokens, shape.contextWidth());
            Tensor logSums = memory.allocate(DType.F32, tokens, shape.heads());
            Tensor gradQkv = memory.allocate(dtype, tokens, shape.qkvWidth());
            // Counting the causal half only: two products forward, five backward.
            double product = (double) sequences * shape.heads() * length * length * shape.headSize();
            String label = dtype + " " + threads + " threads ";
            rate(label + "attention", 2 * product, () -> device.ops().attention(context, logSums, qkv, first, shape));
            rate(label + "attention backward", 5 * product, () -> device.ops()
                    .attentionBackward(gradQkv, gradContext, context, logSums, qkv, first, shape));
        }
    }

    private static void adamw(Memory memory, int threads) {
        long n = 50_000_000;
        Tensor master = memory.allocate(DType.F32, n), m = memory.allocate(DType.F32, n);
        Tensor v = memory.allocate(DType.F32, n), grad = memory.allocate(DType.F32, n);
        Tensor param = memory.allocate(DType.BF16, n);
        for (Tensor t : new Tensor[] {master, m, v, grad, param}) {
            NativeCpu.fill(t.address(), 0, t.bytes());
        }
        rate(
                threads + " threads adamw, bytes",
                30.0 * n,
                () -> NativeCpu.adamw(
                        master.address(),
                        m.address(),
                        v.address(),
                        grad.address(),
                        param.address(),
                        DType.BF16.code,
                        n,
                        1e-3f,
                        0.9f,
                        0.999f,
                        1e-8f,
                        0.1f,
                        0.1f,
                        0.001f,
                        1));
    }

    private static Tensor random(CpuDevice device, Memory memory, DType dtype, long... shape) {
        Tensor values = memory.allocate(DType.F32, shape);
        ByteBuffer bytes =
                ByteBuffer.allocateDirect(Math.toIntExact(values.bytes())).order(ByteOrder.nativeOrder());
        Random random = new Random(1);
        for (int i = 0; i < values.elements(); i++) {
            bytes.putFloat(4 * i, random.nextFloat() - 0.5f);
        }
        device.write(values, bytes);
        Tensor out = memory.allocate(dtype, shape);
        device.ops().convert(out, values);
        memory.free(values);
        return out;
    }

    private static void rate(String what, double work, Runnable operation) {
        operation.run();
        double best = Double.MAX_VALUE;
        long end = System.nanoTime() + 600_000_000L;
        for (int i = 0; i < 4 || System.nanoTime() < end; i++) {
            long start = System.nanoTime();
            operation.run();
            best = Math.min(best, (System.nanoTime() - start) / 1e9);
        }
        System.out.printf("%-40s %8.1f G/s %9.3f ms%n", what, work / best / 1e9, best * 1e3);
    }
}
