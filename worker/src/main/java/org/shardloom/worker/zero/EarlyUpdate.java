package org.shardloom.worker.zero;

import org.shardloom.kernels.device.Pending;

/**
 * Updates a unit as soon as its gradient has come to the host, while the device computes those of the units below, as ZeRO-Offload does (Ren et
 * al., 2021). Only where no norm of all gradients is waited for, neither to clip nor to judge a step: then a gradient that is not finite is found when units
 * nearer to the head may be updated already. A rank updates nothing from the first such gradient on.
 */
final class EarlyUpdate implements GradientArrivals.Observer {
    private final ParameterUpdate update;
    private final GradientStore gradients;
    private boolean refused;
    private int applied;

    EarlyUpdate(ParameterUpdate update, GradientStore gradients) {
        this.update = update;
        this.gradients = gradients;
    }

    /** A step begins. The engine's thread. */
    void begin(double learningRate) {
        refused = false;
        applied = 0;
        update.begin(learningRate);
    }

    /** The observer's thread, or {@link #finish}'s. */
    @Override
    public void arrived(int unit, double squares, Pending ready) {
        refused |= !Double.isFinite(squares);
        if (!refused) {
            update.apply(unit, 1, ready);
            applied++;
        }
    }

    /** Updates the units whose gradients stay on the device, after all others have been. The engine's thread. */
    void finish() {
        int[] staying = gradients.staying();
        for (int i = 0; i < staying.length && !refused && Double.isFinite(gradients.sumOfSquares(staying[i])); i++) {
            update.bring(staying[i]);
        }
        for (int unit : staying) {
            arrived(unit, gradients.sumOfSquares(unit), update.issued());
        }
    }

    /** Units that this rank has updated in the step; the engine's thread, when all gradients have come. */
    int applied() {
        return applied;
    }
}
