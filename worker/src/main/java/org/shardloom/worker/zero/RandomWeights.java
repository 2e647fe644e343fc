package org.shardloom.worker.zero;

import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.LinkedHashMap;
import java.util.Map;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;

/** Matrices that are kept quantised, drawn while they are read: the values that they would have if they were not quantised. */
final class RandomWeights implements TensorSource {
    private record Part(UnitSpec unit, ParameterSpec parameter, ParameterSpec.Source source) {}

    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    private final Map<String, Part> parts = new LinkedHashMap<>();
    private final long seed;
    private final int layers;

    /** Of the model's quantised units; none where there are none. */
    RandomWeights(TunedModel model, long seed) {
        this.seed = seed;
        this.layers = model.config().layers();
        for (UnitSpec unit : model.units()) {
            if (unit.quantization() != Quantization.NONE) {
                for (ParameterSpec p : unit.parameters().values()) {
                    for (ParameterSpec.Source s : p.sources()) {
                        parts.put(s.name(), new Part(unit, p, s));
                        tensors.put(s.name(), TensorInfo.of(s.name(), WeightDtype.F32, s.rows(), p.columns()));
                    }
                }
            }
        }
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return tensors;
    }

    @Override
    public void read(String name, long firstElement, FloatBuffer destination) {
        Part part = parts.get(name);
        long first = part.source.firstRow() * part.parameter.columns() + firstElement;
        try (HostBlocks blocks = new HostBlocks()) {
            Tensor floats = blocks.allocate(DType.F32, destination.remaining());
            MasterWeights.draw(
                    part.parameter, MasterWeights.key(seed, part.unit, part.parameter), first, layers, floats);
            destination.put(HostBytes.view(floats.address(), floats.bytes()).asFloatBuffer());
        }
    }

    @Override
    public void readRaw(String name, long firstElement, ByteBuffer destination) {
        throw new UnsupportedOperationException("random weights are read as numbers");
    }

    @Override
    public void close() {}
}
