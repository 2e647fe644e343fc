package org.shardloom.worker.zero;

import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.BlockView;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorSource;

/**
 * All parameters of a model on one device, for forward passes. They are kept as in training: adapters, tables of prefixes and virtual tokens in fp32, a
 * quantised base's matrices in NF4, of which those of a block exist in full as long as it is used. One thread.
 */
public final class WholeParameters implements AutoCloseable {
    private final List<UnitSpec> units;
    private final ShardPlan plan;
    private final Device device;
    private final DType dtype;
    private final Memory memory;
    private final Memory gathered;
    /** Of one rank: it only says so, and moves nothing. */
    private final Collectives alone = new LocalCollectives();

    private final ParameterStore parameters;
    private final BlockStore blocks;

    /**
     * Room for the parameters, all zero.
     *
     * @param dtype in which the model is computed
     */
    public WholeParameters(TunedModel model, Device device, DType dtype) {
        this.units = model.units();
        this.plan = ZeroEngine.planOf(units, 1);
        this.device = device;
        this.dtype = dtype;
        this.memory = device.memory(Purpose.PARAMETERS);
        this.gathered = device.memory(Purpose.GATHERED);
        this.parameters = units.stream().allMatch(u -> u.quantization() == Quantization.NONE)
                ? resident(plan)
                : new QuantizedParameters(units, plan, device, dtype, gathered, this::resident);
        this.blocks = new BlockStore(model, parameters, null);
        for (int u = 0; u < units.size(); u++) {
            device.ops().zero(parameters.slice(u));
        }
    }

    private ParameterStore resident(ShardPlan kept) {
        DType[] dtypes = units.stream()
                .map(u -> u.fp32() || u.quantization() != Quantization.NONE ? DType.F32 : dtype)
                .toArray(DType[]::new);
        return new ResidentParameters(alone, kept, dtypes, memory, false);
    }

    /** Reads them, and quantises what is kept so, a piece at a time. */
    public void load(TensorSource files) throws IOException {
        int[] plain = IntStream.range(0, units.size())
                .filter(u -> units.get(u).quantization() == Quantization.NONE)
                .toArray();
        List<UnitSpec> read = IntStream.of(plain).mapToObj(units::get).toList();
        Device target = device.sharesHostMemory() ? null : device;
        MasterWeights.load(read, ZeroEngine.planOf(read, 1), 0, files, new MasterWeights.Slices() {
            @Override
            public Tensor of(int i) {
                return parameters.slice(plain[i]);
            }

            @Override
            public Device device(int i) {
                return target;
            }
        });
        if (parameters instanceof QuantizedParameters quantized) {
            QuantizedLoading loading = new QuantizedLoading(quantized, plan, alone, files, target);
            for (int u = 0; u < units.size(); u++) {
                if (quantized.layout(u) != null) {
                    loading.load(u, units.get(u));
                }
            }
        }
    }

    /** The block's parameters, until {@link #release}. */
    public BlockView gather(int block) {
        return blocks.gather(block);
    }

    /** The block is not needed for now. */
    public void release(int block) {
        blocks.release(block);
    }

    /** What they take while no block is used. */
    public long bytes() {
        return parameters.residentBytes();
    }

    @Override
    public void close() {
        parameters.close();
        gathered.close();
        memory.close();
        alone.close();
    }
}
