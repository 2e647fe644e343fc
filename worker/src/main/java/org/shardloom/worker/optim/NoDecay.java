package org.shardloom.worker.optim;

import java.util.Arrays;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;

/** Which parameters are not decayed: those with a name that has one of the patterns in it; {@code *} stands for anything. */
public final class NoDecay {
    private final List<String> patterns;
    private final List<Pattern> compiled;

    /** The rule of {@code train.optimizer.no_decay}. */
    public NoDecay(List<String> patterns) {
        this.patterns = List.copyOf(patterns);
        this.compiled = patterns.stream().map(NoDecay::compile).toList();
    }

    private static Pattern compile(String pattern) {
        return Pattern.compile(
                Arrays.stream(pattern.split("\\*", -1)).map(Pattern::quote).collect(Collectors.joining(".*")));
    }

    /** Whether the parameter is exempt, by its name within the program or one of its names in files. */
    boolean matches(UnitSpec unit, ParameterSpec p) {
        return compiled.stream().anyMatch(pattern -> matches(pattern, unit, p));
    }

    private static boolean matches(Pattern pattern, UnitSpec unit, ParameterSpec p) {
        return Stream.concat(
                        Stream.of(unit.name() + "." + p.name()),
                        p.sources().stream().map(ParameterSpec.Source::name))
                .anyMatch(name -> pattern.matcher(name).find());
    }

    /** The patterns that exempt none of the units' parameters. */
    public List<String> useless(List<UnitSpec> units) {
        return patterns.stream()
                .filter(pattern -> units.stream().noneMatch(unit -> unit.parameters().values().stream()
                        .anyMatch(p -> matches(compile(pattern), unit, p))))
                .toList();
    }
}
