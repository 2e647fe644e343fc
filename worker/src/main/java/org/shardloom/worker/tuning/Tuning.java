package org.shardloom.worker.tuning;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.PrefixEncoder;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.model.VirtualTokens;

/** Applies tuning methods to models. */
public final class Tuning {
    private Tuning() {}

    /**
     * The model as the method trains it.
     *
     * @throws TuningException when the method names what the model does not have
     */
    public static TunedModel of(DecoderConfig config, TuningMethod method) {
        if (method instanceof TuningMethod.Freeze freeze) {
            return FreezeUnits.of(config, freeze);
        }
        if (method instanceof TuningMethod.Lora lora) {
            return LoraUnits.of(config, lora);
        }
        if (method instanceof TuningMethod.PTuningV2 prefix) {
            return prefix(config, prefix);
        }
        if (method instanceof TuningMethod.PTuning prompt) {
            return virtualTokens(config, prompt);
        }
        return TunedModel.full(config);
    }

    private static TunedModel virtualTokens(DecoderConfig config, TuningMethod.PTuning method) {
        requireRoom(config, "virtual_tokens", method.tokens());
        List<UnitSpec> units = new ArrayList<>(frozen(config));
        units.add(1, VirtualTokens.unit(config, method.tokens()));
        return new TunedModel(config, units, new Adapters(List.of(), 0, 0, method.tokens(), 0, false));
    }

    private static void requireRoom(DecoderConfig config, String option, int length) {
        if (length >= config.maxPositions()) {
            throw new TuningException("method." + option + " is " + length + ", but the model's context has "
                    + config.maxPositions() + " positions: nothing would be left for the text");
        }
    }

    private static TunedModel prefix(DecoderConfig config, TuningMethod.PTuningV2 method) {
        requireRoom(config, "prefix_length", method.prefixLength());
        List<UnitSpec> units = new ArrayList<>();
        for (UnitSpec unit : frozen(config)) {
            units.add(unit);
            boolean layer = unit.block() > 0 && unit.block() <= config.layers();
            if (layer && method.projection()) {
                units.add(PrefixEncoder.layerUnit(config, unit.block()));
            }
        }
        units.add(PrefixEncoder.unit(config, config.layers() + 2, method.prefixLength(), method.projection()));
        return new TunedModel(
                config, units, new Adapters(List.of(), 0, 0, 0, method.prefixLength(), method.projection()));
    }

    /** Of the model's context, what the method leaves to text. */
    public static int positions(TuningMethod method, DecoderConfig config) {
        int added = method instanceof TuningMethod.PTuning virtual
                ? virtual.tokens()
                : method instanceof TuningMethod.PTuningV2 prefix ? prefix.prefixLength() : 0;
        return config.maxPositions() - added;
    }

    /** The model's own units, none of them trained. */
    static List<UnitSpec> frozen(DecoderConfig config) {
        return DecoderUnits.of(config).stream()
                .map(unit -> unit.withTrained(false))
                .toList();
    }
}
