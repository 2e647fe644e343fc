package org.shardloom.kernels.cuda;

import static jcuda.cudaDataType.CUDA_R_16BF;
import static jcuda.cudaDataType.CUDA_R_16F;
import static jcuda.cudaDataType.CUDA_R_32F;
import static jcuda.jcublas.cublasComputeType.CUBLAS_COMPUTE_32F;
import static jcuda.jcublas.cublasOperation.CUBLAS_OP_N;
import static jcuda.jcublas.cublasOperation.CUBLAS_OP_T;

import jcuda.Pointer;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasGemmAlgo;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasStatus;
import jcuda.runtime.cudaStream_t;
import org.shardloom.kernels.cuda.CudaException.Library;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OpWorkspace;
import org.shardloom.kernels.device.OutOfMemoryException;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Products of row-major matrices through cuBLAS, with sums in fp32. */
final class MatrixProducts implements AutoCloseable {
    /** CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION. */
    private static final int FP32_PARTIAL_SUMS = 16;

    private final Stream stream;
    private final cublasHandle handle = new cublasHandle();
    private final Memory constants;
    private boolean ready;

    /**
     * Columns of a row-major matrix.
     *
     * @param stride elements from a row to the next
     */
    record Operand(long address, DType dtype, long rows, long columns, long stride) {
        static Operand of(Tensor tensor) {
            return new Operand(tensor.address(), tensor.dtype(), tensor.rows(), tensor.columns(), tensor.columns());
        }

        OpWorkspace.Side side() {
            return new OpWorkspace.Side(dtype, rows, columns);
        }

        static Operand of(Tensor matrix, long from, long count) {
            return new Operand(
                    matrix.address() + from * matrix.dtype().bytes,
                    matrix.dtype(),
                    matrix.rows(),
                    count,
                    matrix.columns());
        }
    }

    MatrixProducts(Stream stream) {
        this.stream = stream;
        constants = stream.lastingWorkspace();
        check(JCublas2.cublasCreate(handle), "cublasCreate");
        check(JCublas2.cublasSetStream(handle, new cudaStream_t(stream.stream)), "cublasSetStream");
        // Partial sums stay fp32 where a product is split, also into 16 bits.
        check(JCublas2.cublasSetMathMode(handle, FP32_PARTIAL_SUMS), "cublasSetMathMode");
    }

    /**
     * c (+)= a b. The shapes must fit; nothing is checked. cuBLAS multiplies operands of one dtype into that dtype or fp32; of others it
     * gets copies in fp32.
     *
     * @param a [m, k], or [k, m] when it is read as its transpose
     * @param b [k, n], or [n, k] when it is read as its transpose
     */
    void run(Operand c, Operand a, boolean transposeA, Operand b, boolean transposeB, boolean accumulate) {
        long k = transposeA ? a.rows() : a.columns();
        if (c.rows() == 0 || c.columns() == 0 || (k == 0 && accumulate)) {
            return;
        }
        if (k == 0) {
            for (long row = 0; row < c.rows(); row++) {
                stream.fill(c.address() + row * c.stride() * c.dtype().bytes, c.columns() * c.dtype().bytes, 0);
            }
            return;
        }
        prepare();
        try (Memory scope = stream.workspace()) {
            OpWorkspace.Product copies = OpWorkspace.product(scope, c.side(), a.side(), b.side());
            Operand left = copied(a, copies.left()), right = copied(b, copies.right());
            if (copies.sum() == null) {
                multiply(c, left, transposeA, right, transposeB, k, accumulate);
                return;
            }
            Operand sum = Operand.of(copies.sum());
            if (accumulate) {
                convert(sum, c);
            }
            multiply(sum, left, transposeA, right, transposeB, k, accumulate);
            convert(c, sum);
        }
    }

    /** Has cuBLAS work in memory that is counted, before the first product. */
    private void prepare() {
        if (!ready) {
            Tensor workspace = constants.allocate(DType.F32, OpWorkspace.PRODUCTS / DType.F32.bytes);
            stream.enter();
            int status = JCublas2.cublasSetWorkspace(handle, Address.pointer(workspace.address()), workspace.bytes());
            check(status, "cublasSetWorkspace", Long.toHexString(workspace.address()), workspace.bytes());
            ready = true;
        }
    }

    private Operand copied(Operand operand, Tensor copy) {
        if (copy == null) {
            return operand;
        }
        Operand out = Operand.of(copy);
        convert(out, operand);
        return out;
    }

    private void convert(Operand out, Operand in) {
        stream.each(
                "convert" + Stream.suffix(in.dtype()) + Stream.suffix(out.dtype()),
                in.rows() * in.columns(),
                out.address(),
                out.stride(),
                in.address(),
                in.stride(),
                in.rows(),
                in.columns());
    }

    /** What the allocator keeps for others may be all that cuBLAS lacks: it gets a second try without that. */
    private void multiply(
            Operand c, Operand a, boolean transposeA, Operand b, boolean transposeB, long k, boolean accumulate) {
        stream.enter();
        int result = issue(c, a, transposeA, b, transposeB, k, accumulate);
        if (result == cublasStatus.CUBLAS_STATUS_ALLOC_FAILED) {
            stream.trim();
            result = issue(c, a, transposeA, b, transposeB, k, accumulate);
        }
        if (result == cublasStatus.CUBLAS_STATUS_ALLOC_FAILED) {
            throw new OutOfMemoryException(
                    "no room for what cuBLAS needs beside its workspace on " + stream.memoryText());
        }
        if (result != cublasStatus.CUBLAS_STATUS_SUCCESS) {
            check(result, "cublasGemmEx", c, a, transposeA, b, transposeB, accumulate);
        }
    }

    /** cuBLAS reads by columns, so it sees every operand transposed: c^T = b^T a^T. */
    private int issue(
            Operand c, Operand a, boolean transposeA, Operand b, boolean transposeB, long k, boolean accumulate) {
        return JCublas2.cublasGemmEx_new(
                handle,
                transposeB ? CUBLAS_OP_T : CUBLAS_OP_N,
                transposeA ? CUBLAS_OP_T : CUBLAS_OP_N,
                Math.toIntExact(c.columns()),
                Math.toIntExact(c.rows()),
                Math.toIntExact(k),
                Pointer.to(new float[] {1}),
                Address.pointer(b.address()),
                type(b.dtype()),
                Math.toIntExact(b.stride()),
                Address.pointer(a.address()),
                type(a.dtype()),
                Math.toIntExact(a.stride()),
                Pointer.to(new float[] {accumulate ? 1 : 0}),
                Address.pointer(c.address()),
                type(c.dtype()),
                Math.toIntExact(c.stride()),
                CUBLAS_COMPUTE_32F,
                cublasGemmAlgo.CUBLAS_GEMM_DEFAULT);
    }

    private static int type(DType dtype) {
        return switch (dtype) {
            case F32 -> CUDA_R_32F;
            case BF16 -> CUDA_R_16BF;
            case F16 -> CUDA_R_16F;
        };
    }

    private void check(int status, String call, Object... arguments) {
        if (status != cublasStatus.CUBLAS_STATUS_SUCCESS) {
            throw stream.calls.failure(Library.CUBLAS, status, cublasStatus.stringFor(status), call, arguments);
        }
    }

    @Override
    public void close() {
        stream.enter();
        check(JCublas2.cublasDestroy(handle), "cublasDestroy");
        constants.close();
    }
}
