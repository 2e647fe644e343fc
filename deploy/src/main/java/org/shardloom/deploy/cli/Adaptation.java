package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.MergeProbe;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.tuning.TuningException;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;

/** Makes sure that an adapter or prefix does something: one that was loaded wrong is the base model, and nobody notices. */
final class Adaptation {
    private static final String ROUNDED = " In 16 bits small changes are rounded away: use --dtype fp32";

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
        announce(model.effect(), adapter.toString(), cause(adapter) + (model.dtype() == DType.F32 ? "" : ROUNDED));
    }

    /**
     * Says the same of the largest difference that something makes to a logit.
     *
     * @param adapter that it was made with
     */
    static void announceMerged(float effect, Path adapter) {
        announce(effect, adapter.toString(), cause(adapter));
    }

    private static void announce(float effect, String what, String cause) {
        if (Float.isNaN(effect)) {
            throw new TuningException(
                    "the model's logits are not numbers: its weights or those of " + what + " are damaged");
        }
        if (!(effect > 0)) {
            throw new TuningException(what + " changes nothing: the logits are those of the base model. " + cause);
        }
        System.err.printf(Locale.ROOT, "the adapter acts: it changes logits of the base model by up to %.3g%n", effect);
    }

    /**
     * Compares a merged model with its base and the adapter beside it.
     *
     * @param effect of the adapter beside its base
     * @throws TuningException when it is not both together, but for rounding
     */
    static void requireMerged(MergeProbe.Merged found, float effect, String what, WeightDtype dtype) {
        String rounded = dtype == WeightDtype.F32
                ? "; its files are damaged: merge again"
                : "; in 16 bits small changes are rounded away: merge with --dtype fp32, or with --no-probe to have it all the same";
        if (!(found.effect() > 0)) {
            throw new TuningException(what + " changes nothing: the logits are those of the base model" + rounded);
        }
        if (!(found.deviation() <= found.allowed())) {
            throw new TuningException(String.format(
                    Locale.ROOT,
                    "%s is not the base model with the adapter: its logits differ from those of the two by up to %.3g, and the"
                            + " adapter changes them by %.3g%s",
                    what,
                    found.deviation(),
                    effect,
                    rounded));
        }
    }

    /**
     * What is said of an adapter that training starts from: whether it acts already. Reads its files, no model.
     *
     * @throws TuningException when it is one of low rank that changes nothing
     */
    static String describeStart(Path adapter) throws IOException {
        Set<String> modules = new TreeSet<>();
        Set<String> idle = new TreeSet<>();
        boolean low = false;
        try (TensorSource files = WeightsDirectory.openAdapter(adapter)) {
            for (String name : files.tensors().keySet()) {
                int factor = name.lastIndexOf(".lora_");
                low |= factor >= 0;
                String module = factor < 0 ? name : name.substring(0, factor);
                boolean zero = true;
                for (float value : files.readAll(name)) {
                    if (!Float.isFinite(value)) {
                        throw new TuningException("model.adapter: " + adapter + " is damaged: " + name
                                + " has values that are not numbers");
                    }
                    zero &= value == 0;
                }
                modules.add(module);
                if (zero && factor >= 0) {
                    idle.add(module);
                }
            }
        }
        if (idle.size() == modules.size()) {
            throw new TuningException("model.adapter: " + adapter
                    + " changes nothing: in each of its modules a factor is 0; leave model.adapter out to begin anew. "
                    + cause(adapter));
        }
        return "training starts from " + adapter
                + (low
                        ? ", which acts in " + (modules.size() - idle.size()) + " of its " + modules.size() + " modules"
                        : "");
    }

    private static String cause(Path adapter) {
        Path metrics = adapter.toAbsolutePath().normalize().resolveSibling("metrics.jsonl");
        return isWithoutLearningRate(metrics)
                ? "It was trained with a learning rate of 0, as " + metrics
                        + " has it for every step: a schedule that decays ends"
                        + " at 0. Take more steps (train.max_steps), train.schedule.warmup_steps: 1 or train.schedule.type:"
                        + " constant"
                : "Was the adapter trained for at least one step with a learning rate above 0?";
    }

    /** Whether the file, which a run leaves beside its model, has steps, and all of them have the learning rate 0. */
    static boolean isWithoutLearningRate(Path metrics) {
        if (!Files.isRegularFile(metrics)) {
            return false;
        }
        ObjectMapper json = new ObjectMapper();
        try (BufferedReader lines = Files.newBufferedReader(metrics)) {
            String line = lines.readLine();
            boolean zero = line != null;
            for (; zero && line != null; line = lines.readLine()) {
                zero = json.readTree(line).path("learning_rate").asDouble(1) == 0;
            }
            return zero;
        } catch (IOException e) {
            return false; // it is no file of a run, and not what was asked for
        }
    }
}
