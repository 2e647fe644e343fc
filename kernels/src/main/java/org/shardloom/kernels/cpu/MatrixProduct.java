package org.shardloom.kernels.cpu;

import org.shardloom.kernels.tensor.Tensor;

/** Products of row-major matrices, either of which may be read as its transpose. */
final class MatrixProduct {
    private MatrixProduct() {}

    /**
     * c (+)= a b. The shapes must fit; nothing is checked.
     *
     * @param c [m, n], any dtype
     * @param a [m, k], or [k, m] when it is read as its transpose
     * @param b [k, n], or [n, k] when it is read as its transpose; the dtype of a
     * @param accumulate add to c rather than overwrite it
     */
    static void run(Tensor c, Tensor a, boolean transposeA, Tensor b, boolean transposeB, boolean accumulate) {
        NativeCpu.gemm(
                c.rows(),
                c.columns(),
                transposeA ? a.rows() : a.columns(),
                a.address(),
                a.dtype().code,
                transposeA ? 1 : a.columns(),
                transposeA ? a.columns() : 1,
                b.address(),
                b.dtype().code,
                transposeB ? 1 : b.columns(),
                transposeB ? b.columns() : 1,
                c.address(),
                c.dtype().code,
                c.columns(),
                accumulate);
    }
}
