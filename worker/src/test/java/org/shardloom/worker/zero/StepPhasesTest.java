package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.PackedBatch;

/** What of a step counts as which phase. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
class StepPhasesTest {
    /** Sequences with about that many targets in all. */
    private static PackedBatch targets(DecoderConfig config, int count) {
        int[] ids = new Random(3).ints(50, 0, config.vocabulary()).toArray();
        List<int[]> sequences = Collections.nCopies(count / 50, ids);
        return PackedBatch.of(sequences, sequences);
    }

    private static List<String> phases(int targets) {
        DecoderConfig config = SmallModels.chatglm(1);
        List<String> phases = new ArrayList<>();
        try (CpuDevice device = new CpuDevice(1);
                ZeroEngine engine = SmallModels.random(config, device, new LocalCollectives(), 1)) {
            engine.observePhases(phases::add);
            engine.step(new StepInput(List.of(targets(config, targets)), List.of((double) targets), 1, 0));
        }
        List<String> passes = new ArrayList<>();
        for (String phase : phases) {
            boolean pass = "forward".equals(phase) || "backward".equals(phase);
            if (pass && (passes.isEmpty() || !passes.get(passes.size() - 1).equals(phase))) {
                passes.add(phase);
            }
        }
        return passes;
    }

    /** The head computes 512 tokens at a time, forward and backward. */
    @Test
    void logitsAndLossesOfEveryChunkAreOfTheForwardPass() {
        assertEquals(List.of("forward", "backward"), phases(300));
        assertEquals(List.of("forward", "backward", "forward", "backward"), phases(1000));
    }
}
