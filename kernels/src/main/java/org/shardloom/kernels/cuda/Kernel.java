package org.shardloom.kernels.cuda;

import java.util.Arrays;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import jcuda.Pointer;
import jcuda.driver.CUfunction;
import jcuda.driver.CUmodule;
import jcuda.driver.JCudaDriver;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.tensor.Tensor;

/** A compiled kernel, and the sizes of its parameters. */
final class Kernel extends CUfunction {
    private static final int MOST_PARAMETERS = 64;
    private static final long NO_PARAMETER = -1;

    final String name;
    /** In bytes; null where the driver does not know (before CUDA 12.4). */
    private final long[] sizes;

    /** The module's context is current. */
    Kernel(Calls calls, CUmodule module, String name) {
        this.name = name;
        calls.check(JCudaDriver.cuModuleGetFunction(this, module, name), "cuModuleGetFunction", name);
        long[] known = IntStream.range(0, MOST_PARAMETERS)
                .mapToLong(i -> NativeCpu.kernelParameterBytes(getNativePointer(), i))
                .takeWhile(bytes -> bytes != NO_PARAMETER)
                .toArray();
        sizes = LongStream.of(known).allMatch(bytes -> bytes > 0) ? known : null;
    }

    /**
     * The arguments in the form that a launch takes.
     *
     * @param arguments Tensor or null (an address), Long, Integer, Float
     * @throws IllegalArgumentException when they do not have the sizes that the kernel was compiled for: it would read past them, or a part
     */
    Pointer arguments(Object... arguments) {
        if (sizes != null) {
            long[] given = Arrays.stream(arguments).mapToLong(Kernel::bytes).toArray();
            if (!Arrays.equals(given, sizes)) {
                throw new IllegalArgumentException("kernel " + name + " takes parameters of " + text(sizes)
                        + " bytes, not of " + text(given) + ": " + Arrays.toString(arguments));
            }
        }
        return Pointer.to(Arrays.stream(arguments).map(Kernel::argument).toArray(Pointer[]::new));
    }

    private static String text(long[] sizes) {
        return LongStream.of(sizes).boxed().toList().toString();
    }

    private static long bytes(Object value) {
        return value instanceof Integer || value instanceof Float ? Integer.BYTES : Long.BYTES;
    }

    private static Pointer argument(Object value) {
        if (value == null) {
            return Pointer.to(new long[1]);
        } else if (value instanceof Tensor tensor) {
            return Pointer.to(new long[] {tensor.address()});
        } else if (value instanceof Long number) {
            return Pointer.to(new long[] {number});
        } else if (value instanceof Integer number) {
            return Pointer.to(new int[] {number});
        } else if (value instanceof Float number) {
            return Pointer.to(new float[] {number});
        }
        throw new IllegalArgumentException("no kernel takes " + value);
    }
}
