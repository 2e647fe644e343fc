package org.shardloom.kernels.device;

import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * What a GPU's operations take beside their operands, attention aside ({@link AttentionTiles}): the same for the device that computes them
 * and for one that plans them.
 */
public final class OpWorkspace {
    /** Rows that are summed to one row of partial sums. */
    public static final int ROWS = 64;
    /** Elements whose squares are summed to one partial sum. */
    public static final int SQUARES = 4096;

    /** Values that 8-bit scales of double quantisation stand for: fp32, from the first use on to the device's end. */
    public static final int LEVELS = 256;

    /**
     * What cuBLAS works in, from the first product on to the device's end: what NVIDIA recommends for GPUs from Hopper on, more than enough
     * for those before.
     */
    public static final long PRODUCTS = 32 << 20;

    private OpWorkspace() {}

    /** A matrix of a product. */
    public record Side(DType dtype, long rows, long columns) {
        public static Side of(Tensor matrix) {
            return new Side(matrix.dtype(), matrix.rows(), matrix.columns());
        }

        public static Side of(Columns columns) {
            return new Side(columns.matrix().dtype(), columns.matrix().rows(), columns.count());
        }

        private boolean isEmpty() {
            return rows == 0 || columns == 0;
        }
    }

    /**
     * fp32 copies of a product's operands: cuBLAS multiplies two of one dtype, into that dtype or fp32.
     *
     * @param left of the left side; null where it serves itself
     * @param right of the right side; null where it serves itself
     * @param sum that the product goes to, and from there to where it is wanted; null where it goes there at once
     */
    public record Product(Tensor left, Tensor right, Tensor sum) {}

    /** Allocates what the product of two sides into a third takes. */
    public static Product product(Memory scope, Side out, Side left, Side right) {
        if (out.isEmpty() || left.isEmpty()) {
            return new Product(null, null, null);
        }
        boolean alike = left.dtype == right.dtype;
        Tensor a = alike ? null : copy(scope, left), b = alike ? null : copy(scope, right);
        DType multiplied = alike ? left.dtype : DType.F32;
        boolean direct = out.dtype == DType.F32 || out.dtype == multiplied;
        return new Product(a, b, direct ? null : copy(scope, out));
    }

    private static Tensor copy(Memory scope, Side side) {
        return side.dtype == DType.F32 ? null : fp32(scope, side);
    }

    private static Tensor fp32(Memory scope, Side side) {
        return scope.allocate(DType.F32, side.rows, side.columns);
    }

    /** Partial sums over rows of x, fp32 [ceil(T / ROWS), N]. */
    public static Tensor rowSums(Memory scope, Tensor x) {
        return scope.allocate(DType.F32, (x.rows() + ROWS - 1) / ROWS, x.columns());
    }

    /** Partial sums of squares of x: doubles, in the room of two fp32 each, [ceil(elements / SQUARES), 2]. */
    public static Tensor squares(Memory scope, Tensor x) {
        return scope.allocate(DType.F32, (x.elements() + SQUARES - 1) / SQUARES, 2);
    }
}
