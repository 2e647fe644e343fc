package org.shardloom.worker.model;

import java.util.List;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A decoder on one device, unit by unit. It keeps no parameters: whoever calls passes those of the unit. Used by one thread.
 */
public final class Decoder implements AutoCloseable {
    private final DecoderConfig config;
    private final List<UnitSpec> units;
    private final Device device;
    private final DecoderLayer layer;
    private final DecoderHead head;
    private final Memory tables;
    private final Tensor rotary;

    /**
     * A decoder on the device.
     *
     * @param positions longest sequence that will be seen
     */
    public Decoder(DecoderConfig config, Device device, int positions) {
        this.config = config;
        this.units = DecoderUnits.of(config);
        this.device = device;
        this.layer = new DecoderLayer(config, device);
        this.head = new DecoderHead(config, device);
        this.tables = device.memory(Purpose.WORKSPACE);
        int pairs = config.attention().rotaryDim() / 2;
        this.rotary = Inputs.floats(
                device,
                tables,
                Rotary.table(positions, config.attention().rotaryDim(), config.ropeBase()),
                positions,
                pairs,
                2);
    }

    public DecoderConfig config() {
        return config;
    }

    /** Embedding, layers, head. */
    public List<UnitSpec> units() {
        return units;
    }

    /** x[T, H] = embedding of the batch's ids. */
    public void embed(UnitView embedding, BatchOnDevice batch, Tensor x) {
        device.ops().gatherRows(x, embedding.get("weight"), batch.ids());
    }

    /** Adds to the embedding's gradient, which the caller has zeroed. */
    public void embedBackward(UnitView embeddingGrad, BatchOnDevice batch, Tensor gradX) {
        device.ops().embeddingBackward(embeddingGrad.get("weight"), gradX, batch.ids(), batch.order());
    }

    /**
     * Runs a layer.
     *
     * @param input [T, H], which the state keeps
     * @param kept scope of what backward needs
     * @param out [T, H] or null when only the state is wanted (recomputation)
     */
    public LayerState layer(UnitView p, BatchOnDevice batch, Tensor input, Memory kept, Tensor out) {
        LayerState state = new LayerState(input);
        layer.forward(p, batch, rotary, state, kept, out);
        return state;
    }

    /** Replaces grad[T, H] by the gradient of the layer's input and overwrites its parameters' gradients. The state is used up. */
    public void layerBackward(UnitView p, UnitView g, BatchOnDevice batch, LayerState state, Tensor grad) {
        layer.backward(p, g, batch, rotary, state, grad);
    }

    /** Sum of losses without gradients. */
    public double loss(UnitView headUnit, UnitView embedding, BatchOnDevice batch, Tensor x) {
        return head.loss(headUnit.get("norm.weight"), output(headUnit, embedding), null, null, false, batch, x, 1);
    }

    /**
     * Sum of losses; x becomes the gradient times scale. With tied embeddings the output's gradient is added to the embedding's,
     * which the caller has zeroed.
     */
    public double lossAndGradients(
            UnitView headUnit,
            UnitView embedding,
            UnitView headGrad,
            UnitView embeddingGrad,
            BatchOnDevice batch,
            Tensor x,
            float scale) {
        Tensor outputGrad = config.tiedEmbeddings() ? embeddingGrad.get("weight") : headGrad.get("output.weight");
        return head.loss(
                headUnit.get("norm.weight"),
                output(headUnit, embedding),
                headGrad.get("norm.weight"),
                outputGrad,
                config.tiedEmbeddings(),
                batch,
                x,
                scale);
    }

    /** fp32 logits [rows, vocabulary] of the given rows of the last layer's output. */
    public Tensor logits(UnitView headUnit, UnitView embedding, Tensor x, IndexTensor rows, Memory memory) {
        return head.logits(headUnit.get("norm.weight"), output(headUnit, embedding), x, rows, memory);
    }

    private Tensor output(UnitView headUnit, UnitView embedding) {
        return config.tiedEmbeddings() ? embedding.get("weight") : headUnit.get("output.weight");
    }

    /** The residual stream's dtype for parameters of the dtype. */
    public Tensor newStream(Memory memory, DType dtype, long tokens) {
        return memory.allocate(dtype, tokens, config.hidden());
    }

    @Override
    public void close() {
        tables.close();
    }
}
