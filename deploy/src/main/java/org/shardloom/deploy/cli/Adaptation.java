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
        float effect = model.effect();
        if (Float.isNaN(effect)) {
            throw new TuningException(
                    "the model's logits are not numbers: its weights or those of " + adapter + " are damaged");
        }
        if (!(effect > 0)) {
            throw new TuningException(adapter + " changes nothing: the model's logits are those of its base model. "
                    + "Was it trained for at least one step?");
        }
        System.err.printf(Locale.ROOT, "the adapter acts: it changes logits of the base model by up to %.3g%n", effect);
    }
}
