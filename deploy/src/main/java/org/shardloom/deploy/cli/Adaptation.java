package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.Locale;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.tuning.TuningException;

/** Makes sure that an adapter or prefix does something: one that was loaded wrong is the base model, and nobody notices. */
final class Adaptation {
    private Adaptation() {}

    /**
     * Says on standard error how much the adapter changes the base model's logits.
     *
     * @throws TuningException when it changes nothing
     */
    static void announce(LoadedModel model, Path adapter) {
        if (model.adapters().equals(Adapters.NONE)) {
            return;
        }
        announce(model.effect(), adapter.toString());
    }

    /** Says the same of the largest difference that something makes to a logit. */
    static void announce(float effect, String what) {
        if (Float.isNaN(effect)) {
            throw new TuningException(
                    "the model's logits are not numbers: its weights or those of " + what + " are damaged");
        }
        if (!(effect > 0)) {
            throw new TuningException(
                    what + " changes nothing: the logits are those of the base model. "
                            + "Was the adapter trained for at least one step? In 16 bits small changes are rounded away: merge with --dtype fp32");
        }
        System.err.printf(Locale.ROOT, "the adapter acts: it changes logits of the base model by up to %.3g%n", effect);
    }
}
