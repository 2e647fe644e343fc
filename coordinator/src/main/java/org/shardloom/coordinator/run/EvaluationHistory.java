package org.shardloom.coordinator.run;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.shardloom.protocol.checkpoint.Evaluations;
import org.shardloom.protocol.checkpoint.Manifest;

/**
 * What early stopping goes by.
 *
 * @param bestLoss lowest loss of an evaluation, infinite before the first
 * @param bestStep after which it was found
 * @param lastStep of the last evaluation
 * @param worse evaluations in a row without a lower loss, up to now
 */
public record EvaluationHistory(double bestLoss, long bestStep, long lastStep, int worse) {
    /** Before the first evaluation. */
    public static final EvaluationHistory NONE = new EvaluationHistory(Double.POSITIVE_INFINITY, 0, 0, 0);

    /** That of the run that wrote the checkpoint, when it did. */
    public static EvaluationHistory of(Path checkpoint) throws IOException {
        Manifest manifest = Manifest.parseFrom(Files.readAllBytes(checkpoint.resolve("manifest.pb")));
        if (!manifest.hasEvaluations()) {
            return NONE;
        }
        Evaluations e = manifest.getEvaluations();
        return new EvaluationHistory(e.getBestLoss(), e.getBestStep(), e.getLastStep(), e.getWorse());
    }

    /** With one more evaluation of a finite loss. */
    EvaluationHistory with(long step, double loss) {
        return loss < bestLoss
                ? new EvaluationHistory(loss, step, step, 0)
                : new EvaluationHistory(bestLoss, bestStep, step, worse + 1);
    }

    /** For a manifest, which has none before the first. */
    void write(Manifest.Builder manifest) {
        if (lastStep > 0) {
            manifest.setEvaluations(Evaluations.newBuilder()
                    .setBestLoss(bestLoss)
                    .setBestStep(bestStep)
                    .setLastStep(lastStep)
                    .setWorse(worse));
        }
    }
}
