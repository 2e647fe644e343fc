package org.shardloom.worker.zero;

import java.util.stream.IntStream;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.optim.OptimizerShard;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * AdamW on this rank's slices, unit by unit, and the way of the new weights from the host to the device while the next unit is updated. Used
 * by one thread at a time.
 */
final class ParameterUpdate implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(ParameterUpdate.class);

    private final OptimizerShard optimizer;
    private final ParameterStore parameters;
    private final GradientStore gradients;
    private final int[] trainedUnits;
    private final Device device;
    private final boolean copied;
    private final Device.Transfer[] copies;
    private double learningRate;

    /**
     * No update is under way.
     *
     * @param trainedUnits of the parameters, by trained unit
     * @param copied whether the host updates what the device keeps
     */
    ParameterUpdate(
            OptimizerShard optimizer,
            ParameterStore parameters,
            GradientStore gradients,
            int[] trainedUnits,
            Device device,
            boolean copied) {
        this.optimizer = optimizer;
        this.parameters = parameters;
        this.gradients = gradients;
        this.trainedUnits = trainedUnits;
        this.device = device;
        this.copied = copied;
        this.copies = new Device.Transfer[trainedUnits.length];
    }

    /** Every unit is to follow. */
    void begin(double rate) {
        learningRate = rate;
        optimizer.beginUpdate();
    }

    /** Nothing has followed, and nothing will. */
    void takeBack() {
        optimizer.restoreUpdates(optimizer.updates() - 1);
    }

    /**
     * Updates the slice of a trained unit, whose gradient is complete.
     *
     * @param scale factor on the gradient
     * @param unused from when on nobody reads the weights that the device has
     */
    void apply(int unit, double scale, Pending unused) {
        Tensor slice = parameters.slice(trainedUnits[unit]);
        for (GradientStore.Place sum : gradients.awaitPlaces(unit)) {
            Tensor part = slice.slice(sum.from(), sum.tensor().elements());
            if (copied) {
                Tensor updated =
                        optimizer.updateInPlace(unit, sum.from(), sum.tensor(), learningRate, scale, slice.dtype());
                copies[unit] = device.toDevice(part, updated, unused); // after those before it
            } else {
                optimizer.update(unit, sum.from(), sum.tensor(), learningRate, scale, part);
            }
        }
    }

    /**
     * Updates all slices, all gradients being complete. Those that have stayed on the device come while the last of the others is updated.
     *
     * @param scale factor on the gradients
     */
    void applyAll(double scale) {
        int[] order = gradients.order();
        int[] staying = gradients.staying();
        for (int at = 0; at < order.length; at++) {
            if (at == order.length - staying.length - 1) {
                IntStream.of(staying).forEach(this::bring);
            }
            apply(order[at], scale, issued());
        }
    }

    /** What reads the weights that the device has. */
    Pending issued() {
        return device.issued();
    }

    /** Starts a gradient that stayed on the device for the host, to where its lenders' new weights stand until they have left. */
    void bring(int unit) {
        for (int lender : gradients.lenders(unit)) {
            if (copies[lender] != null) {
                copies[lender].await();
                copies[lender] = null;
            }
        }
        gradients.bring(unit);
    }

    /** Waits until all new weights are where they are computed with. */
    void finish() {
        for (int u = 0; u < copies.length; u++) {
            if (copies[u] != null) {
                copies[u].await();
                copies[u] = null;
            }
        }
    }

    /** Waits for what is under way, also where a step has failed: its places are about to be others'. */
    @Override
    public void close() {
        for (Device.Transfer copy : copies) {
            if (copy != null) {
                try {
                    copy.await();
                } catch (RuntimeException e) {
                    // It has ended, and what it brought is of no use any more.
                    LOG.debug("a copy ended with a failed step", e);
                }
            }
        }
    }
}
