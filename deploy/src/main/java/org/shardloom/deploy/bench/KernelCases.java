package org.shardloom.deploy.bench;

import static org.shardloom.kernels.cuda.KernelCosts.*;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.shardloom.kernels.cuda.CommunicationStream;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.cuda.KernelCosts.Size;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.OptimizerOps.Adamw;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;

/** Operations of a model's training step on one sequence, and what each of their kernels has to do. Operands are zeros: no time depends on values. */
final class KernelCases extends KernelCaseList {
    private static final int RANKS = 8;

    private KernelCases(CudaDevice device, DecoderConfig model, int tokens, DType dtype) {
        super(device, model, tokens, dtype);
    }

    /** Without a device they can be listed, not prepared. */
    static List<KernelCase> of(CudaDevice device, DecoderConfig model, int tokens, DType dtype) {
        KernelCases all = new KernelCases(device, model, tokens, dtype);
        all.elementwise();
        all.feedForward();
        if (model.firstGlm()) {
            all.layerNorm();
        } else {
            all.rmsNorm();
        }
        all.cases.addAll(AttentionCases.of(device, model, tokens, dtype));
        all.tables();
        all.quantized();
        all.ranks();
        return all.cases;
    }

    private void elementwise() {
        long h = model.hidden();
        Size size = Size.of(tokens, h, dtype.bytes), single = Size.of(tokens, h, 4);
        add("add", ADD, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), y = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h);
            return () -> ops().add(out, x, y);
        });
        add("add_scaled", ADD_SCALED, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), y = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h);
            return () -> ops().addScaled(out, x, y, 2);
        });
        add("add_bias", ADD_BIAS, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), bias = zeros(m, dtype, h);
            return () -> ops().addBias(x, bias);
        });
        add("bias_gradient", sums(h, COLUMN_PARTIALS), m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, DType.F32, h);
            return () -> ops().columnSum(out, x, false);
        });
        add("scale", SCALE, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h);
            return () -> ops().scale(x, 2);
        });
        add("dropout", DROPOUT, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h);
            return () -> ops().dropout(out, x, 1, 0.1f);
        });
        // From fp32 to fp32 it is a copy.
        if (dtype != DType.F32) {
            add("convert_from_fp32", CONVERT, Size.of(tokens, h, dtype.bytes, 4), m -> {
                Tensor x = zeros(m, DType.F32, tokens, h), out = zeros(m, dtype, tokens, h);
                return () -> ops().convert(out, x);
            });
        }
        add("tanh", TANH, single, m -> {
            Tensor x = zeros(m, DType.F32, tokens, h), out = zeros(m, DType.F32, tokens, h);
            return () -> ops().tanh(out, x);
        });
        add("tanh_backward", TANH_BACKWARD, single, m -> {
            Tensor y = zeros(m, DType.F32, tokens, h), grad = zeros(m, DType.F32, tokens, h);
            return () -> ops().tanhBackward(grad, grad, y);
        });
        add("adamw", ADAMW, Size.of(h, h, dtype.bytes), m -> {
            Tensor master = zeros(m, DType.F32, h * h), first = zeros(m, DType.F32, h * h);
            Tensor second = zeros(m, DType.F32, h * h), gradient = zeros(m, DType.F32, h * h);
            Tensor out = zeros(m, dtype, h * h);
            Adamw settings = new Adamw(1e-4f, 0.9, 0.999, 1e-8f, 0.1f, 0.1f, 0.001f, 1);
            return () -> ops().adamw(master, first, second, gradient, out, settings);
        });
        add("sum_of_squares", SUM_OF_SQUARES, Size.of(h, h, 4), m -> {
            Tensor x = zeros(m, DType.F32, h, h);
            return () -> ops().sumOfSquares(x);
        });
    }

    /** Partial sums of the rows by such a kernel, and their total. */
    private Map<KernelCosts, Size> sums(long columns, KernelCosts partials) {
        long blocks = (tokens + 63) / 64;
        Map<KernelCosts, Size> sizes = new LinkedHashMap<>();
        sizes.put(partials, Size.of(tokens, columns, dtype.bytes));
        sizes.put(COLUMN_TOTAL, Size.of(blocks, columns, 4));
        return sizes;
    }

    private void feedForward() {
        long f = model.feedForward();
        Size size = Size.of(tokens, f, dtype.bytes);
        if (model.firstGlm()) {
            add("gelu", GELU, size, m -> {
                Tensor x = zeros(m, dtype, tokens, f), bias = zeros(m, dtype, f), out = zeros(m, dtype, tokens, f);
                return () -> ops().gelu(out, x, bias);
            });
            add("gelu_backward", GELU_BACKWARD, size, m -> {
                Tensor x = zeros(m, dtype, tokens, f), grad = zeros(m, dtype, tokens, f);
                Tensor bias = zeros(m, dtype, f), out = zeros(m, dtype, tokens, f);
                return () -> ops().geluBackward(out, grad, x, bias);
            });
            return;
        }
        add("swiglu", SWIGLU, size, m -> {
            Tensor x = zeros(m, dtype, tokens, 2 * f), out = zeros(m, dtype, tokens, f);
            return () -> ops().swiglu(out, x, null);
        });
        add("swiglu_backward", SWIGLU_BACKWARD, size, m -> {
            Tensor x = zeros(m, dtype, tokens, 2 * f), grad = zeros(m, dtype, tokens, f);
            Tensor out = zeros(m, dtype, tokens, 2 * f);
            return () -> ops().swigluBackward(out, grad, x, null);
        });
    }

    private void rmsNorm() {
        long h = model.hidden();
        Size size = Size.of(tokens, h, dtype.bytes);
        add("rms_norm", RMS_NORM, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h), weight = zeros(m, dtype, h);
            Tensor inverse = zeros(m, DType.F32, tokens);
            return () -> ops().rmsNorm(out, inverse, null, x, null, weight, 1e-5f);
        });
        add("rms_norm_with_residual", RMS_NORM_RESIDUAL, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h), weight = zeros(m, dtype, h);
            Tensor residual = zeros(m, dtype, tokens, h), sum = zeros(m, dtype, tokens, h);
            Tensor inverse = zeros(m, DType.F32, tokens);
            return () -> ops().rmsNorm(out, inverse, sum, x, residual, weight, 1e-5f);
        });
        Map<KernelCosts, Size> sizes = sums(h, NORM_PARTIALS);
        sizes.put(RMS_NORM_BACKWARD, size);
        add("rms_norm_backward", sizes, m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h), weight = zeros(m, dtype, h);
            Tensor grad = zeros(m, dtype, tokens, h), skip = zeros(m, dtype, tokens, h);
            Tensor inverse = zeros(m, DType.F32, tokens), gradWeight = zeros(m, DType.F32, h);
            return () -> ops().rmsNormBackward(out, gradWeight, false, grad, x, inverse, weight, skip);
        });
    }

    private void layerNorm() {
        long h = model.hidden();
        Size size = Size.of(tokens, h, dtype.bytes);
        add("layer_norm", LAYER_NORM, size, m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h), weight = zeros(m, dtype, h);
            Tensor statistics = zeros(m, DType.F32, tokens, 2), bias = zeros(m, dtype, h);
            return () -> ops().layerNorm(out, statistics, x, weight, bias, 1e-5f);
        });
        Map<KernelCosts, Size> sizes = sums(h, NORM_PARTIALS);
        sizes.putAll(sums(h, COLUMN_PARTIALS));
        sizes.put(LAYER_NORM_BACKWARD, size);
        add("layer_norm_backward", sizes, m -> {
            Tensor x = zeros(m, dtype, tokens, h), out = zeros(m, dtype, tokens, h), weight = zeros(m, dtype, h);
            Tensor grad = zeros(m, dtype, tokens, h), statistics = zeros(m, DType.F32, tokens, 2);
            Tensor gradWeight = zeros(m, DType.F32, h), gradBias = zeros(m, DType.F32, h);
            return () -> ops().layerNormBackward(out, gradWeight, gradBias, grad, x, statistics, weight);
        });
    }

    /** 0, 1, ... */
    private IndexTensor count(Memory memory, int n) {
        return Inputs.indices(device, memory, IntStream.range(0, n).toArray());
    }

    private void tables() {
        long h = model.hidden(), v = model.vocabulary();
        // All of different tokens, as the floor supposes.
        int rows = (int) Math.min(tokens, v);
        Size size = Size.of(rows, h, dtype.bytes);
        add("gather_rows", GATHER_ROWS, size, m -> {
            Tensor table = zeros(m, dtype, v, h), out = zeros(m, dtype, rows, h);
            IndexTensor ids = count(m, rows);
            return () -> ops().gatherRows(out, table, ids);
        });
        add("scatter_rows", SCATTER_ROWS, size, m -> {
            Tensor out = zeros(m, dtype, rows, h), from = zeros(m, dtype, rows, h);
            IndexTensor ids = count(m, rows);
            return () -> ops().scatterRows(out, from, ids);
        });
        add("embedding_backward", EMBEDDING_BACKWARD, Size.of(rows, h, dtype.bytes, 4), m -> {
            Tensor table = zeros(m, DType.F32, v, h), grad = zeros(m, dtype, rows, h);
            IndexTensor ids = count(m, rows), order = count(m, rows);
            return () -> ops().embeddingBackward(table, grad, ids, order);
        });
        int chunk = (int) Math.min(tokens, Decoder.headRows(v));
        add("cross_entropy", CROSS_ENTROPY, Size.of(chunk, v, dtype.bytes), m -> {
            Tensor logits = zeros(m, DType.F32, chunk, v), grad = zeros(m, dtype, chunk, v);
            Tensor losses = zeros(m, DType.F32, chunk);
            IndexTensor targets = Inputs.indices(device, m, new int[chunk]);
            return () -> ops().softmaxCrossEntropy(losses, grad, logits, targets, 1);
        });
    }

    private void quantized() {
        long n = (long) model.hidden() * model.feedForward(), scales = (n + 63) / 64;
        add("dequantize_nf4", DEQUANTIZE_NF4, Size.of(1, n, dtype.bytes), m -> {
            Tensor out = zeros(m, dtype, n), codes = zeros(m, DType.F32, (n + 7) / 8);
            Tensor absmax = zeros(m, DType.F32, scales);
            return () -> ops().dequantizeNf4(out, codes, absmax);
        });
        add("dequantize_scales", DEQUANTIZE_ABSMAX, Size.of(1, scales, 4), m -> {
            Tensor out = zeros(m, DType.F32, scales), codes = zeros(m, DType.F32, (scales + 3) / 4);
            Tensor nested = zeros(m, DType.F32, (scales + 255) / 256);
            return () -> ops().dequantizeAbsmax(out, codes, nested, 0);
        });
    }

    /** Gradients of h * h parameters, as a rank of {@link #RANKS} gets its part of them from all. */
    private void ranks() {
        long n = Math.max(1, (long) model.hidden() * model.hidden() / RANKS);
        add("sum_of_ranks", SUM_RANKS, Size.of(RANKS, n, dtype.bytes), m -> {
            Tensor sum = zeros(m, DType.F32, n), parts = zeros(m, dtype, RANKS, n);
            CommunicationStream stream = device.communication();
            return () -> {
                stream.afterCompute().release();
                stream.sumRanks(sum.address(), false, parts.address(), dtype, n, RANKS, n);
                stream.beforeCompute();
            };
        });
    }
}
