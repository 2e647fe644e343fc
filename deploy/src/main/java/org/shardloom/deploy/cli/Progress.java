package org.shardloom.deploy.cli;

import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.shardloom.coordinator.run.CoordinatorActor.Outcome;
import org.shardloom.coordinator.run.RunListener;
import org.shardloom.coordinator.run.RunState;
import org.shardloom.coordinator.run.RunView;
import org.shardloom.coordinator.run.StepMetrics;

/**
 * Shows how a run goes: one line that is rewritten on a terminal, below whatever else is said, and plain lines every few seconds elsewhere.
 */
final class Progress implements RunListener {
    private static final int BAR = 16;
    private static final String CLEAR = "\r\033[K";
    /** What is too wide for the terminal is cut off: a line that went on below could not be rewritten. */
    private static final String NO_WRAP = "\033[?7l";

    private static final String WRAP = "\033[?7h";
    private static final long PLAIN_MILLIS = 5000;
    private final PrintStream out;
    private final boolean terminal;
    private final Path outputDir;
    private final Optional<DetachedLog> log;
    private List<String> opening = List.of();
    private RunState state;
    /** The line that is rewritten; null when there is none. */
    private String bar;

    private long lastPlain;
    private double secondsPerStep;
    private boolean ended;

    Progress(PrintStream out, boolean terminal, Path outputDir, Optional<DetachedLog> log) {
        this.out = out;
        this.terminal = terminal;
        this.outputDir = outputDir;
        this.log = log;
    }

    @Override
    public void onOwned() {
        log.ifPresent(l -> l.keepIn(outputDir.resolve("logs")));
    }

    /** Lines to be shown when the run has begun. */
    synchronized void open(List<String> lines) {
        opening = lines;
    }

    @Override
    public synchronized void onNotice(boolean warning, String text) {
        line((warning ? "warning: " : "") + text);
    }

    @Override
    public synchronized void onStep(StepMetrics m) {
        secondsPerStep = secondsPerStep == 0 ? m.seconds() : 0.9 * secondsPerStep + 0.1 * m.seconds();
        String text = String.format(
                Locale.ROOT,
                "step %d/%d  loss %.4f  %,.0f tokens/s  left %s  %d workers  norm %.2f  lr %.2e%s",
                m.step(),
                m.totalSteps(),
                m.loss(),
                m.tokensPerSecond(),
                left(Math.round(secondsPerStep * (m.totalSteps() - m.step()))),
                m.workers(),
                m.gradNorm(),
                m.learningRate(),
                m.applied() ? "" : "  (update skipped)");
        long now = System.currentTimeMillis();
        if (terminal) {
            int filled = m.totalSteps() == 0 ? BAR : (int) (BAR * m.step() / m.totalSteps());
            bar = "[" + "#".repeat(filled) + "-".repeat(BAR - filled) + "] " + text;
            showBar();
        } else if (now - lastPlain >= PLAIN_MILLIS || m.step() == m.totalSteps() || m.step() == 1) {
            lastPlain = now;
            out.println(text);
        }
    }

    private static String left(long seconds) {
        Duration d = Duration.ofSeconds(seconds);
        return d.toHours() > 0
                ? String.format(Locale.ROOT, "%d:%02d:%02d", d.toHours(), d.toMinutesPart(), d.toSecondsPart())
                : String.format(Locale.ROOT, "%d:%02d", d.toMinutes(), d.toSecondsPart());
    }

    @Override
    public synchronized void onState(RunView view) {
        if (view.state() != state) {
            opening.forEach(this::line);
            opening = List.of();
            state = view.state();
            if (!state.isFinal() && state != RunState.TRAINING && state != RunState.PLANNING) {
                line(state.name().toLowerCase(Locale.ROOT) + (view.detail().isEmpty() ? "" : ": " + view.detail()));
            }
        }
    }

    synchronized void end(Outcome outcome) {
        if (!ended) {
            ended = true;
            if (bar != null) {
                out.println();
                bar = null;
            }
            line((outcome.success() ? "" : "failed: ") + outcome.message());
            if (!outcome.success()) {
                line("logs: " + outputDir.resolve("logs"));
            }
        }
    }

    private void line(String text) {
        out.println(bar == null ? text : CLEAR + text);
        if (bar != null) {
            showBar();
        }
        out.flush();
    }

    private void showBar() {
        out.print(NO_WRAP + CLEAR + bar + WRAP);
        out.flush();
    }
}
