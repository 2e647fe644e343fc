package org.shardloom.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Tensors of one test. Each ends where its memory ends, so that a kernel which reads or writes past a tensor stops the JVM
 * with SIGBUS, and begins after bytes that {@link #close} checks. Fresh memory is NaN in every dtype.
 *
 * <p>Random values come from a seed that every message of a test should carry; {@code -Dshardloom.seed} repeats it.
 */
final class Guarded implements AutoCloseable {
    private static final long PAGE = 4096;
    private static final byte UNTOUCHED = -1;

    final long seed = Long.getLong("shardloom.seed", System.nanoTime());
    final Random random = new Random(seed);
    private final List<Block> blocks = new ArrayList<>();

    private record Block(long base, long size, long before) {}

    /** Memory that holds NaN. */
    Tensor empty(DType dtype, long... shape) {
        long bytes = new Tensor(0, dtype, shape).bytes();
        long size = Math.max(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
        int file = NativeCpu.sharedCreate(size);
        // The page mapped beyond the end of the file exists as an address only.
        long base = NativeCpu.sharedMap(file, size + PAGE);
        NativeCpu.sharedClose(file);
        NativeCpu.fill(base, UNTOUCHED, size);
        blocks.add(new Block(base, size, size - bytes));
        return new Tensor(base + size - bytes, dtype, shape);
    }

    /** The values, rounded to the dtype. */
    Tensor of(DType dtype, double[] values, long... shape) {
        Tensor tensor = empty(dtype, shape);
        assertEquals(tensor.elements(), values.length);
        ByteBuffer bytes = HostBytes.view(tensor.address(), tensor.bytes());
        for (int i = 0; i < values.length; i++) {
            int bits = Numbers.encode(dtype, values[i]);
            if (dtype == DType.F32) {
                bytes.putInt(4 * i, bits);
            } else {
                bytes.putShort(2 * i, (short) bits);
            }
        }
        return tensor;
    }

    /** Values between -range and range. */
    Tensor random(DType dtype, double range, long... shape) {
        double[] values = new double[(int) new Tensor(0, dtype, shape).elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = range * (2 * random.nextDouble() - 1);
        }
        return of(dtype, values, shape);
    }

    IndexTensor indices(int... values) {
        Tensor storage = empty(DType.F32, values.length);
        HostBytes.view(storage.address(), storage.bytes()).asIntBuffer().put(values);
        return new IndexTensor(storage, values.length);
    }

    IndexTensor randomIndices(int count, int bound) {
        return indices(random.ints(count, 0, bound).toArray());
    }

    static double[] read(Tensor tensor) {
        if (tensor == null) {
            return null;
        }
        ByteBuffer bytes = HostBytes.view(tensor.address(), tensor.bytes());
        double[] values = new double[(int) tensor.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = tensor.dtype() == DType.F32
                    ? bytes.getFloat(4 * i)
                    : Numbers.decode(tensor.dtype(), bytes.getShort(2 * i) & 0xffff);
        }
        return values;
    }

    static int[] read(IndexTensor indices) {
        int[] values = new int[indices.count()];
        HostBytes.view(indices.storage().address(), values.length * 4L)
                .asIntBuffer()
                .get(values);
        return values;
    }

    static byte[] bytes(Tensor tensor) {
        byte[] bytes = new byte[(int) tensor.bytes()];
        HostBytes.view(tensor.address(), tensor.bytes()).get(bytes);
        return bytes;
    }

    /** One of the sizes at which blocks and vectors of the kernels end, begin or are incomplete. */
    int awkwardSize() {
        int[] sizes = {1, 2, 3, 7, 17, 31, 33, 63, 65};
        return sizes[random.nextInt(sizes.length)];
    }

    @Override
    public void close() {
        for (Block block : blocks) {
            ByteBuffer before = HostBytes.view(block.base, Math.max(1, block.before));
            for (int i = 0; i < block.before; i++) {
                assertEquals(UNTOUCHED, before.get(i), "a byte in front of a tensor was written; seed " + seed);
            }
            NativeCpu.sharedUnmap(block.base, block.size + PAGE);
        }
    }
}
