package org.shardloom.worker.tuning;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.shardloom.protocol.config.TuningMethod.Lora;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.LoraSite;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/** The units of a model with low-rank adapters: the model's own, frozen, and one unit of adapters a layer. */
final class LoraUnits {
    private static final String WEIGHT = ".weight";
    private static final String ATTENTION = "attention";
    private static final String ALL = "all";

    private LoraUnits() {}

    static TunedModel of(DecoderConfig config, Lora method) {
        List<UnitSpec> units = new ArrayList<>();
        List<LoraSite> sites = new ArrayList<>();
        Set<String> unmatched = new LinkedHashSet<>(method.targets());
        Set<String> modules = new TreeSet<>();
        for (UnitSpec unit : Tuning.frozen(config)) {
            boolean layer = unit.block() > 0 && unit.block() <= config.layers();
            if (layer && method.base() != Quantization.NONE) {
                units.add(part(unit, method.base(), true));
                units.add(part(unit, method.base(), false));
            } else {
                units.add(unit);
            }
            if (layer) {
                boolean first = unit.block() == 1;
                UnitSpec.Builder adapters = new UnitSpec.Builder(unit.name() + ".lora", unit.block())
                        .added()
                        .inFp32();
                for (ParameterSpec p : unit.parameters().values()) {
                    if (p.kind().isVector()) {
                        continue;
                    }
                    for (ParameterSpec.Source source : p.sources()) {
                        String module = source.name().substring(0, source.name().length() - WEIGHT.length());
                        String target = module.substring(module.lastIndexOf('.') + 1);
                        modules.add(target);
                        if (method.targets().stream().anyMatch(t -> matches(t, target, p))) {
                            unmatched.removeIf(t -> matches(t, target, p));
                            LoraSite site = new LoraSite(
                                    p.name(), source.firstRow(), source.rows(), target + ".lora_A", target + ".lora_B");
                            add(adapters, site, p, module, method.rank());
                            if (first) {
                                sites.add(site);
                            }
                        }
                    }
                }
                if (!adapters.isEmpty()) {
                    units.add(adapters.build());
                }
            }
        }
        if (!unmatched.isEmpty()) {
            throw new TuningException("method.targets: the model has no module " + String.join(", ", unmatched)
                    + "; it has " + String.join(", ", modules) + " (or use 'attention', 'all')");
        }
        return new TunedModel(
                config, units, new Adapters(sites, (float) method.scale(), (float) method.dropout(), 0, 0, false));
    }

    /** The matrices of a layer, quantised, or the rest. */
    private static UnitSpec part(UnitSpec unit, Quantization how, boolean matrices) {
        UnitSpec.Builder part = new UnitSpec.Builder(
                        unit.name() + (matrices ? UnitSpec.QUANTIZED : UnitSpec.FROZEN), unit.block())
                .trained(false);
        if (matrices) {
            part.quantized(how);
        }
        unit.parameters().values().stream()
                .filter(p -> p.kind().isVector() != matrices)
                .forEach(part::add);
        return part.build();
    }

    private static boolean matches(String wanted, String module, ParameterSpec p) {
        boolean attention = p.name().startsWith("qkv.") || p.name().startsWith("attention.");
        return wanted.equals(ALL) || wanted.equals(module) || wanted.equals(ATTENTION) && attention;
    }

    private static void add(UnitSpec.Builder adapters, LoraSite site, ParameterSpec p, String module, int rank) {
        String prefix = "base_model.model." + module;
        adapters.add(site.a(), ParameterSpec.Kind.LINEAR, p.columns(), prefix + ".lora_A.weight", rank)
                .add(site.b(), ParameterSpec.Kind.ZERO, rank, prefix + ".lora_B.weight", site.rows());
    }
}
