package org.shardloom.kernels.device;

import org.shardloom.kernels.tensor.Tensor;

/**
 * A vector of int32 on the device.
 *
 * @param storage four bytes an element
 * @param count number of elements
 */
public record IndexTensor(Tensor storage, int count) {
    /** Elements [from, from + length). */
    public IndexTensor slice(int from, int length) {
        return new IndexTensor(storage.slice(from, length), length);
    }
}
