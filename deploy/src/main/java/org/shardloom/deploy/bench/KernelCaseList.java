package org.shardloom.deploy.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.cuda.KernelCosts.Size;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.model.DecoderConfig;

/** Operations at a model's shapes, and what makes their operands. */
abstract class KernelCaseList {
    /** Null where cases are only listed. */
    final CudaDevice device;

    final DecoderConfig model;
    final int tokens;
    final DType dtype;
    final List<KernelCase> cases = new ArrayList<>();

    KernelCaseList(CudaDevice device, DecoderConfig model, int tokens, DType dtype) {
        this.device = device;
        this.model = model;
        this.tokens = tokens;
        this.dtype = dtype;
    }

    final void add(String name, Map<KernelCosts, Size> sizes, Function<Memory, Runnable> preparation) {
        cases.add(new KernelCase(name, sizes, preparation));
    }

    final void add(String name, KernelCosts family, Size size, Function<Memory, Runnable> preparation) {
        add(name, Map.of(family, size), preparation);
    }

    final Ops ops() {
        return device.ops();
    }

    final Tensor zeros(Memory memory, DType type, long... shape) {
        Tensor tensor = memory.allocate(type, shape);
        ops().zero(tensor);
        return tensor;
    }
}
