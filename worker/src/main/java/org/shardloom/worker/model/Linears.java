package org.shardloom.worker.model;

import java.util.List;
import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Ops;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Linear maps of a layer with the low-rank adapters on them (Hu et al., 2021): y = W x + scale * B A dropout(x). A and B are fp32, and so
 * is A dropout(x) [T, rank], which a layer's state keeps for backward.
 */
final class Linears {
    private final Device device;
    private final Ops ops;
    private final Adapters adapters;

    Linears(Device device, Adapters adapters) {
        this.device = device;
        this.ops = device.ops();
        this.adapters = adapters;
    }

    /**
     * y[T, N] = the map of x[T, K].
     *
     * @param kept memory for what the state keeps
     */
    void forward(BlockView p, String weight, LayerCall call, Tensor y, Tensor x, LayerState state, Memory kept) {
        ops.linear(y, x, p.get(weight));
        for (LoraSite site : adapters.on(weight)) {
            try (Memory work = device.memory(Purpose.WORKSPACE)) {
                Tensor inner = inner(p, site, call, x, kept, work);
                state.inner.put(site, inner);
                ops.linearAdd(new Columns(y, site.firstRow(), site.rows()), inner, p.get(site.b()));
            }
        }
    }

    /** Whether backward looks at the values of the map's input: it is trained, or an adapter on it is. */
    boolean readsInput(BlockView g, String weight) {
        return g.find(weight) != null || !adapters.on(weight).isEmpty();
    }

    /**
     * The gradients of what is trained, and of the input.
     *
     * @param g receives the gradients, overwritten
     * @param gradX [T, K], overwritten; may be x, whose values are used up; null where nobody needs it
     * @param gradY [T, N]
     * @param x as it was in forward
     * @param state what forward has kept
     */
    void backward(
            BlockView p,
            BlockView g,
            String weight,
            LayerCall call,
            Tensor gradX,
            Tensor gradY,
            Tensor x,
            LayerState state) {
        Tensor gradWeight = g.find(weight);
        if (gradWeight != null) {
            ops.linearBackwardWeight(gradWeight, gradY, x, false);
        }
        List<LoraSite> sites = adapters.on(weight);
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor[] gradInner = new Tensor[sites.size()];
            for (int i = 0; i < gradInner.length; i++) {
                gradInner[i] = adapterGradients(p, g, sites.get(i), call, gradY, x, state, work);
            }
            if (gradX == null) {
                return;
            }
            ops.linearBackwardInput(gradX, gradY, p.get(weight), false);
            for (int i = 0; i < gradInner.length; i++) {
                LoraSite site = sites.get(i);
                Tensor a = p.get(site.a());
                Columns all = new Columns(gradInner[i], 0, a.rows());
                if (adapters.dropout() > 0 && call.dropoutKey() != 0) {
                    try (Memory wide = device.memory(Purpose.WORKSPACE)) {
                        Tensor part = wide.allocate(gradX.dtype(), gradX.shape());
                        ops.linearBackwardInput(part, all, a, false);
                        ops.dropout(part, part, call.dropoutKey(site), adapters.dropout());
                        ops.add(gradX, gradX, part);
                    }
                } else {
                    ops.linearBackwardInput(gradX, all, a, true);
                }
            }
        }
    }

    /** Fills the gradients of A and B; the result is the gradient of A dropout(x), fp32 [T, rank]. */
    private Tensor adapterGradients(
            BlockView p,
            BlockView g,
            LoraSite site,
            LayerCall call,
            Tensor gradY,
            Tensor x,
            LayerState state,
            Memory memory) {
        Tensor b = p.get(site.b());
        Columns gradOut = new Columns(gradY, site.firstRow(), site.rows());
        Tensor gradInner = memory.allocate(DType.F32, x.rows(), b.columns());
        ops.linearBackwardInput(gradInner, gradOut, b, false);
        ops.scale(gradInner, adapters.scale());
        try (Memory work = device.memory(Purpose.WORKSPACE)) {
            Tensor inner = state.inner.get(site);
            if (inner == null) { // recomputation leaves out a layer's last map
                inner = inner(p, site, call, x, work, work);
            }
            ops.linearBackwardWeight(g.get(site.b()), gradOut, inner);
            ops.linearBackwardWeight(
                    g.get(site.a()), new Columns(gradInner, 0, b.columns()), dropped(site, call, x, work));
        }
        return gradInner;
    }

    /** scale * A dropout(x), fp32 [T, rank]. */
    private Tensor inner(BlockView p, LoraSite site, LayerCall call, Tensor x, Memory memory, Memory work) {
        Tensor a = p.get(site.a());
        Tensor inner = memory.allocate(DType.F32, x.rows(), a.rows());
        ops.zero(inner);
        ops.linearAdd(new Columns(inner, 0, a.rows()), dropped(site, call, x, work), a);
        ops.scale(inner, adapters.scale());
        return inner;
    }

    private Tensor dropped(LoraSite site, LayerCall call, Tensor x, Memory memory) {
        if (adapters.dropout() == 0 || call.dropoutKey() == 0) {
            return x;
        }
        Tensor out = memory.allocate(x.dtype(), x.shape());
        ops.dropout(out, x, call.dropoutKey(site), adapters.dropout());
        return out;
    }
}
