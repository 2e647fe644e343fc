package org.shardloom.worker.model;

import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.tensor.Tensor;

/** A transformer layer, forward and backward; the parameters of each layer are passed to it. */
interface Layer {
    /**
     * Runs the layer.
     *
     * @param state filled with what backward needs, in memory of {@code kept}
     * @param out [T, H]; null when only the state is wanted
     */
    void forward(BlockView p, LayerCall call, Tensor rotary, LayerState state, Memory kept, Tensor out);

    /**
     * Runs the layer backward.
     *
     * @param g receives the gradients of what is trained, overwritten
     * @param grad [T, H] gradient of the output; replaced by the gradient of the input
     */
    void backward(BlockView p, BlockView g, LayerCall call, Tensor rotary, LayerState state, Tensor grad);
}
