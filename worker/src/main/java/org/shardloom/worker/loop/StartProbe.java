package org.shardloom.worker.loop;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.generate.MergeProbe;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.zero.GenerationPass;
import org.shardloom.worker.zero.ZeroEngine;

/** Whether an adapter or prefix that training starts from acts: one that was loaded wrong is the base model, and nobody notices. */
final class StartProbe {
    private static final int TOKENS = 16;

    private StartProbe() {}

    /**
     * Compares the model with itself without the adapter. Every rank must call it.
     *
     * @param positions longest sequence that the engine sees
     * @return what is said of it
     * @throws TuningException when it changes no logit
     */
    static String describe(ZeroEngine engine, Device device, int positions, DType dtype, Path adapter) {
        float effect = effect(engine, device, positions);
        if (Float.isNaN(effect)) {
            throw new TuningException("model.adapter: the model's logits are not numbers: its weights or those of "
                    + adapter + " are damaged");
        }
        if (!(effect > 0)) {
            throw new TuningException("model.adapter: " + adapter
                    + " changes nothing: the logits are those of the base model; leave model.adapter out to begin anew"
                    + (dtype == DType.F32 ? "" : ". In 16 bits small changes are rounded away: see precision: fp32"));
        }
        return String.format(
                Locale.ROOT, "the adapter acts: it changes logits of the base model by up to %.3g", effect);
    }

    /** The largest difference to a logit after a few tokens. */
    static float effect(ZeroEngine engine, Device device, int positions) {
        int[] tokens = MergeProbe.tokens(engine.model().config(), Math.min(TOKENS, positions));
        try (Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            float[] with = logits(engine.generation(), engine.generation().prefix(memory), tokens);
            float[] without = engine.withoutAdapters(bare -> logits(bare, null, tokens));
            float most = 0;
            for (int i = 0; i < with.length; i++) {
                most = Math.max(most, Math.abs(with[i] - without[i])); // not a number where one of them is none
            }
            return most;
        }
    }

    private static float[] logits(GenerationPass pass, Tensor prefix, int[] tokens) {
        try (KeyValueCache cache = pass.newCache(1, tokens.length, prefix)) {
            return pass.extend(cache, new int[1], List.of(tokens))[0];
        }
    }
}
