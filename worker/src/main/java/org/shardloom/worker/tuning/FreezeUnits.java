package org.shardloom.worker.tuning;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.shardloom.protocol.config.TuningMethod.Freeze;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/** The units of a model of which some parameters are trained: a block with both kinds is cut into a trained and a frozen unit. */
final class FreezeUnits {
    private final DecoderConfig config;
    private final Freeze method;
    private final Set<String> matched = new HashSet<>();

    private FreezeUnits(DecoderConfig config, Freeze method) {
        this.config = config;
        this.method = method;
    }

    static TunedModel of(DecoderConfig config, Freeze method) {
        return new TunedModel(config, new FreezeUnits(config, method).units(), Adapters.NONE);
    }

    private List<UnitSpec> units() {
        if (method.lastLayers() > config.layers()) {
            throw new TuningException("method.last_layers is " + method.lastLayers() + ", but the model has "
                    + config.layers() + " layers");
        }
        List<UnitSpec> all = DecoderUnits.of(config);
        List<UnitSpec> units = new ArrayList<>();
        for (UnitSpec unit : all) {
            List<ParameterSpec> trained = new ArrayList<>();
            List<ParameterSpec> frozen = new ArrayList<>();
            for (ParameterSpec p : unit.parameters().values()) {
                (isTrained(unit, p) ? trained : frozen).add(p);
            }
            if (trained.isEmpty() || frozen.isEmpty()) {
                units.add(unit.withTrained(frozen.isEmpty()));
            } else {
                units.add(part(unit, UnitSpec.FROZEN, frozen).withTrained(false));
                units.add(part(unit, UnitSpec.TRAINED, trained));
            }
        }
        List<String> useless =
                method.patterns().stream().filter(p -> !matched.contains(p)).toList();
        if (!useless.isEmpty()) {
            throw new TuningException("method.train: no parameter's name contains "
                    + String.join(
                            " or ", useless.stream().map(p -> "'" + p + "'").toList()) + "; the names are "
                    + names(all) + " (N: 0 to " + (config.layers() - 1) + ")");
        }
        return units;
    }

    private boolean isTrained(UnitSpec unit, ParameterSpec p) {
        List<String> names =
                p.sources().stream().map(ParameterSpec.Source::name).toList();
        List<String> hit = names.stream()
                .filter(name -> method.patterns().stream().anyMatch(name::contains))
                .toList();
        method.patterns().stream()
                .filter(pattern -> names.stream().anyMatch(name -> name.contains(pattern)))
                .forEach(matched::add);
        int layer = unit.block() - 1;
        if (layer < config.layers() && layer >= config.layers() - method.lastLayers()) {
            return true;
        }
        if (!hit.isEmpty() && hit.size() < names.size()) {
            throw new TuningException("method.train: " + String.join(", ", hit) + " cannot be trained without "
                    + String.join(
                            ", ", names.stream().filter(n -> !hit.contains(n)).toList())
                    + ": they are one matrix here; name all of them");
        }
        return !hit.isEmpty();
    }

    private static UnitSpec part(UnitSpec unit, String suffix, List<ParameterSpec> parameters) {
        UnitSpec.Builder part = new UnitSpec.Builder(unit.name() + suffix, unit.block());
        parameters.forEach(part::add);
        return part.build();
    }

    /** Names as in files, with the number of a layer left open. */
    private static String names(List<UnitSpec> units) {
        Stream<String> names = units.stream()
                .flatMap(u -> u.parameters().values().stream())
                .flatMap(p -> p.sources().stream())
                .map(s -> s.name().replaceFirst("layers\\.\\d+\\.", "layers.N."));
        return String.join(", ", names.distinct().toList());
    }
}
