package org.shardloom.worker.model;

import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * A decoder on one device, block by block. It keeps no parameters: whoever calls passes those of the block. Used by one thread.
 */
public final class Decoder implements AutoCloseable {
    private final TunedModel model;
    private final DecoderConfig config;
    private final Device device;
    private final Layer layer;
    private final DecoderHead head;
    private final PrefixEncoder prefixEncoder;
    private final VirtualTokens virtualTokens;
    private final Memory tables;
    private final Tensor rotary;

    /**
     * A decoder on the device.
     *
     * @param longest sequence that will be seen, without virtual tokens
     */
    public Decoder(TunedModel model, Device device, int longest) {
        this.model = model;
        this.config = model.config();
        this.device = device;
        this.layer = config.firstGlm()
                ? new FirstGlmLayer(config, model.adapters(), device)
                : new DecoderLayer(config, model.adapters(), device);
        this.head = new DecoderHead(config, device);
        this.prefixEncoder = new PrefixEncoder(config, model.adapters(), device);
        this.tables = device.memory(Purpose.WORKSPACE);
        int positions = longest + model.adapters().virtualTokens();
        this.virtualTokens = new VirtualTokens(device);
        this.rotary = Inputs.floats(
                device,
                tables,
                Rotary.table(positions, config),
                positions,
                config.attention().pairs(),
                2);
    }

    /** Rows whose logits are computed at a time. */
    public static long headRows(long vocabulary) {
        return DecoderHead.chunkRows(vocabulary);
    }

    public DecoderConfig config() {
        return config;
    }

    public TunedModel model() {
        return model;
    }

    /** The trained keys and values for the batch, in memory of the scope; null where the method has none. */
    public Prefix prefix(BlockView prefix, PackedBatch batch, DType dtype, boolean training, Memory memory) {
        return model.adapters().prefixLength() == 0
                ? null
                : prefixEncoder.forward(prefix, batch, dtype, training, memory);
    }

    /** Keys and values of the prefix for a cache, in memory of the scope; null where the method has none. */
    public PrefixTable prefixTable(BlockView prefix, DType dtype, Memory memory) {
        return model.adapters().prefixLength() == 0 ? null : prefixEncoder.table(prefix, dtype, memory);
    }

    /** Fills the gradients of what makes the keys and values, after the backward pass of the lowest layer. */
    public void prefixBackward(BlockView p, BlockView g, Prefix prefix) {
        prefixEncoder.backward(p, g, prefix);
    }

    /** The batch on the device, with virtual tokens where the method has them. */
    public BatchOnDevice inputs(Memory memory, PackedBatch batch, boolean backward) {
        PackedBatch longer = batch.withVirtualTokens(model.adapters().virtualTokens());
        return BatchOnDevice.of(device, memory, config, longer, backward);
    }

    /** x[T, H] = embedding of the batch's ids. */
    public void embed(BlockView embedding, BatchOnDevice batch, Tensor x) {
        device.ops().gatherRows(x, embedding.get("weight"), batch.ids());
        virtualTokens.insert(embedding, batch, x);
    }

    /** Adds to the embedding's gradient, which the caller has zeroed. */
    public void embedBackward(BlockView embeddingGrad, BatchOnDevice batch, Tensor gradX) {
        Tensor weight = embeddingGrad.find("weight");
        if (weight != null) {
            device.ops().embeddingBackward(weight, gradX, batch.ids(), batch.order());
        }
        virtualTokens.backward(embeddingGrad, batch, gradX);
    }

    /**
     * Runs a layer.
     *
     * @param input [T, H], which the state keeps
     * @param kept scope of what backward needs
     * @param out [T, H] or null when only the state is wanted (recomputation)
     */
    public LayerState layer(BlockView p, LayerCall call, Tensor input, Memory kept, Tensor out) {
        LayerState state = new LayerState(input);
        layer.forward(p, call, rotary, state, kept, out);
        return state;
    }

    /**
     * Replaces grad[T, H] by the gradient of the layer's input and overwrites the gradients of its trained parameters. The state is
     * used up.
     */
    public void layerBackward(BlockView p, BlockView g, LayerCall call, LayerState state, Tensor grad) {
        layer.backward(p, g, call, rotary, state, grad);
    }

    /** Sum of losses without gradients. */
    public double loss(BlockView headBlock, BlockView embedding, BatchOnDevice batch, Tensor x) {
        double sum = 0;
        try (Memory kept = device.memory(Purpose.ACTIVATIONS)) {
            Tensor losses = head.losses(headBlock, output(headBlock, embedding), null, batch, x, kept);
            for (float loss : losses == null ? new float[0] : Inputs.toFloats(device, losses)) {
                sum += loss;
            }
        }
        return sum;
    }

    /**
     * Losses; x becomes the gradient times scale. With tied embeddings the output's gradient is added to the embedding's,
     * which the caller has zeroed.
     *
     * @param headGrad gradients of what is trained of the head
     * @param embeddingGrad of the embedding, where it is trained and tied
     * @param kept memory of the losses
     * @param pass is told which pass what follows belongs to
     * @return fp32 [targets], issued; null where there are none
     */
    public Tensor lossesAndGradients(
            BlockView headBlock,
            BlockView embedding,
            BlockView headGrad,
            BlockView embeddingGrad,
            BatchOnDevice batch,
            Tensor x,
            float scale,
            Memory kept,
            PassListener pass) {
        Tensor outputGrad = config.tiedEmbeddings()
                ? embeddingGrad == null ? null : embeddingGrad.find("weight")
                : headGrad.find("output.weight");
        return head.losses(
                headBlock,
                output(headBlock, embedding),
                new DecoderHead.Gradients(headGrad, outputGrad, config.tiedEmbeddings(), scale, pass),
                batch,
                x,
                kept);
    }

    /** fp32 logits [rows, vocabulary] of the given rows of the last layer's output. */
    public Tensor logits(BlockView headBlock, BlockView embedding, Tensor x, IndexTensor rows, Memory memory) {
        return head.logits(headBlock, output(headBlock, embedding), x, rows, memory);
    }

    private Tensor output(BlockView headBlock, BlockView embedding) {
        return config.tiedEmbeddings() ? embedding.get("weight") : headBlock.get("output.weight");
    }

    @Override
    public void close() {
        tables.close();
    }
}
