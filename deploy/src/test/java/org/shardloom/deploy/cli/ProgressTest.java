package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.shardloom.coordinator.run.CoordinatorActor.Outcome;
import org.shardloom.coordinator.run.StepMetrics;

/** What a person sees of a run: a line that is rewritten on a terminal, plain lines in a file. */
class ProgressTest {
    private static final String SHOW = "\033[?7l\r\033[K";
    private static final String SHOWN = "\033[?7h";
    private static final String HALF = "[########--------] step 10/20  loss 2.5000  1,235 tokens/s  left 1:02:05"
            + "  4 workers  norm 0.75  lr 1.00e-03";

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    private Progress progress(boolean terminal) {
        return new Progress(
                new PrintStream(bytes, true, StandardCharsets.UTF_8),
                terminal,
                Path.of("/output"),
                java.util.Optional.empty());
    }

    private String shown() {
        String text = bytes.toString(StandardCharsets.UTF_8);
        bytes.reset();
        return text;
    }

    private static StepMetrics step(long step, boolean applied) {
        return new StepMetrics(
                step, 20, 0.5, 2.5, 0.75, applied, 1e-3, 100, 1234.6, 4, 1, 372.5, 0, 0, List.of(1L), Map.of(), null);
    }

    @Test
    void onATerminalTheLineIsRewritten() {
        Progress progress = progress(true);
        progress.onStep(step(10, true));
        assertEquals(SHOW + HALF + SHOWN, shown());
        progress.onStep(step(20, false));
        assertEquals(
                SHOW + "[################] step 20/20  loss 2.5000  1,235 tokens/s  left 0:00"
                        + "  4 workers  norm 0.75  lr 1.00e-03  (update skipped)" + SHOWN,
                shown());
    }

    @Test
    void onATerminalMessagesStandAboveTheLine() {
        Progress progress = progress(true);
        progress.onNotice(false, "before");
        assertEquals("before\n", shown());
        progress.onStep(step(10, true));
        shown();
        progress.onNotice(true, "worker 2 was lost");
        assertEquals("\r\033[Kwarning: worker 2 was lost\n" + SHOW + HALF + SHOWN, shown());
        progress.end(new Outcome(false, "no workers"));
        progress.end(new Outcome(true, "said once"));
        assertEquals("\nfailed: no workers\nlogs: /output/logs\n", shown());
    }

    @Test
    void elsewhereAFewLinesArePlain() {
        Progress progress = progress(false);
        for (int step = 1; step < 20; step++) {
            progress.onStep(step(step, true));
        }
        assertEquals(
                "step 1/20  loss 2.5000  1,235 tokens/s  left 1:57:58  4 workers  norm 0.75  lr 1.00e-03\n", shown());
        progress.onNotice(false, "note");
        progress.onStep(step(20, true));
        progress.end(new Outcome(true, "done"));
        assertEquals(
                "note\nstep 20/20  loss 2.5000  1,235 tokens/s  left 0:00  4 workers  norm 0.75  lr 1.00e-03\ndone\n",
                shown());
    }
}
