package org.shardloom.kernels.cpu;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.Platform;

/**
 * The C++ functions of {@code src/main/native/cpu}. Arguments are raw addresses and are not checked here: callers are
 * {@link CpuOps} and its neighbours, which have checked shapes and dtypes. Functions run on the calling thread and the
 * OpenMP threads that {@link #useThreads} gave it. Dtype codes are those of {@code DType.code}.
 */
@Platform(
        include = "shardloom_cpu.cpp",
        compiler = "cpp17",
        preload = {"gomp@.1", "dnnl@.3"},
        preloadresource = "/org/bytedeco/dnnl/")
@Namespace("shardloom")
public final class NativeCpu {
    static {
        Loader.load(NativeCpu.class);
    }

    private NativeCpu() {}

    /** 0: any x86-64, 1: AVX2, 2: AVX-512, 3: AVX-512 with AMX for bf16. */
    public static native int instructionSet();

    /** Whether bf16 products run on the processor's own instructions: AMX, or AVX-512 BF16 through oneDNN. */
    public static native boolean hasBf16();

    /** OpenMP threads for calls from this thread, from now on. */
    public static native void useThreads(int threads);

    /** OpenMP threads of calls from this thread. */
    public static native int threads();

    public static native void gemm(
            long m,
            long n,
            long k,
            long a,
            int aType,
            long aRow,
            long aColumn,
            long b,
            int bType,
            long bRow,
            long bColumn,
            long c,
            int cType,
            long ldc,
            boolean accumulate);

    public static native void gemmOwn(
            long m,
            long n,
            long k,
            long a,
            int aType,
            long aRow,
            long aColumn,
            long b,
            int bType,
            long bRow,
            long bColumn,
            long c,
            int cType,
            long ldc,
            boolean accumulate);

    public static native void rmsNormForward(
            long out,
            long inverse,
            long sum,
            long x,
            long residual,
            long weight,
            int dtype,
            long rows,
            long n,
            float eps);

    public static native void rmsNormBackward(
            long gradX,
            long gradWeight,
            int gradType,
            boolean accumulate,
            long gradOut,
            long x,
            long inverse,
            long weight,
            long skip,
            int dtype,
            long rows,
            long n);

    public static native void rotary(
            long qkv,
            long bias,
            int dtype,
            long table,
            long positions,
            long tokens,
            int heads,
            int groups,
            int headSize,
            boolean byHead,
            int rotaryDim,
            int rotation,
            boolean inverse);

    public static native void layerNormForward(
            long out, long statistics, long x, long weight, long bias, int dtype, long rows, long n, float eps);

    public static native void layerNormBackward(
            long gradX,
            long gradWeight,
            long gradBias,
            int gradType,
            long gradOut,
            long x,
            long statistics,
            long weight,
            int dtype,
            long rows,
            long n);

    public static native void addBias(long x, long bias, int dtype, long rows, long n);

    public static native void addScaled(long out, long a, long b, int dtype, long n, float factor);

    public static native void geluForward(long out, long x, long bias, int dtype, long rows, long n);

    public static native void geluBackward(long gradX, long gradOut, long x, long bias, int dtype, long rows, long n);

    public static native void attentionForward(
            long context,
            long logSums,
            long qkv,
            int dtype,
            long starts,
            long contexts,
            int sequences,
            int heads,
            int groups,
            int headSize,
            boolean byHead);

    public static native void attentionWithCache(
            long context,
            long cache,
            long qkv,
            int dtype,
            long starts,
            long contexts,
            long cacheStarts,
            long past,
            int sequences,
            int heads,
            int groups,
            int headSize,
            boolean byHead);

    public static native void attentionBackward(
            long gradQkv,
            long gradContext,
            long context,
            long logSums,
            long qkv,
            int dtype,
            long starts,
            long contexts,
            int sequences,
            int heads,
            int groups,
            int headSize,
            boolean byHead);

    public static native void swigluForward(long out, long gateUp, long bias, int dtype, long rows, long n);

    public static native void swigluBackward(
            long gradGateUp, long gradOut, long gateUp, long bias, int dtype, long rows, long n);

    public static native void columnSum(
            long out, int outType, boolean accumulate, long x, int dtype, long rows, long n);

    public static native void gatherRows(long out, long table, long rowIds, long count, long rowBytes);

    public static native void scatterRows(long out, long rows, long rowIds, long count, long rowBytes);

    public static native void embeddingBackward(
            long gradWeight, int gradType, long gradOut, int dtype, long ids, long order, long tokens, long n);

    public static native void softmaxCrossEntropy(
            long losses, long grad, int dtype, long logits, long targets, long rows, long n, float scale);

    public static native void convert(long out, int outType, long in, int inType, long n);

    public static native void add(long out, long a, long b, int dtype, long n);

    public static native void sumSources(long out, boolean accumulate, long addresses, int count, int dtype, long n);

    public static native double sumOfSquares(long x, long n);

    public static native long kernelParameterBytes(long function, int index);

    public static native long loadKernels(long module);

    public static native void adamw(
            long master,
            long first,
            long second,
            long grad,
            long param,
            int paramType,
            long n,
            float rate,
            double beta1,
            double beta2,
            float eps,
            float decay,
            float correction1,
            float correction2,
            float gradScale);

    public static native void randomNormal(long out, long key, long first, long n, float deviation);

    public static native void scale(long out, int dtype, long n, float factor);

    public static native void dropout(long out, long x, int dtype, long n, long key, float rate);

    public static native void tanhForward(long out, long x, long n);

    public static native void tanhBackward(long gradX, long gradY, long y, long n);

    public static native void nf4Quantize(long codes, long absmax, long x, long n);

    public static native void nf4Dequantize(long out, int dtype, long codes, long absmax, long n);

    public static native void dynamicLevels(long out);

    public static native void absmaxQuantize(long codes, long nested, long x, float offset, long n);

    public static native void absmaxDequantize(long out, long codes, long nested, float offset, long n);

    public static native void fill(long address, int value, long bytes);

    public static native void copy(long to, long from, long bytes);

    public static native long allocate(long bytes);

    public static native void release(long address, long bytes);

    public static native int sharedCreate(long bytes);

    public static native int sharedOpen(int pid, int fd);

    public static native long sharedSize(int fd);

    public static native long sharedMap(int fd, long bytes);

    public static native void sharedUnmap(long address, long bytes);

    public static native void sharedClose(int fd);

    public static native void sharedRelease(long address, long bytes);

    public static native void wordStore(long address, int value);

    public static native int wordAwait(long address, int target, long abortAddress, long timeoutNanos);

    public static native long residentBytes(boolean peak);
}
