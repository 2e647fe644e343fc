package org.shardloom.coordinator.run;

import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.shardloom.protocol.message.CoordinatorMessage;
import org.shardloom.protocol.message.CoordinatorMessage.ShardFailed;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;

/**
 * How far the checkpoint in hand has come, and which one was the last. Phases:
 *
 * <pre>
 *   IDLE -> PREPARING -> WRITING -> COMMITTING -> IDLE     and from each of them back to IDLE when it fails
 * </pre>
 *
 * <p>While PREPARING or COMMITTING the coordinator's file thread is at work: its outcome must be heard before anything is loaded.
 */
final class CheckpointProgress {
    private enum Phase {
        IDLE,
        PREPARING,
        WRITING,
        COMMITTING
    }

    private final Map<Integer, CoordinatorMessage> answers = new TreeMap<>();
    private Phase phase = Phase.IDLE;
    private long step;
    private String last;
    private long lastStep = -1;

    CheckpointProgress(String resume) {
        last = resume;
    }

    /** Directory of the last complete checkpoint, or null. */
    String last() {
        return last;
    }

    boolean isLastOf(long otherStep) {
        return lastStep == otherStep;
    }

    boolean idle() {
        return phase == Phase.IDLE;
    }

    boolean filesBusy() {
        return phase == Phase.PREPARING || phase == Phase.COMMITTING;
    }

    boolean inHand(long otherStep) {
        return phase != Phase.IDLE && step == otherStep;
    }

    long step() {
        return step;
    }

    void begin(long ofStep) {
        phase = Phase.PREPARING;
        step = ofStep;
        answers.clear();
    }

    /** The directory is there; false when nobody waits for it. */
    boolean prepared(long ofStep) {
        if (phase != Phase.PREPARING || step != ofStep) {
            return false;
        }
        phase = Phase.WRITING;
        return true;
    }

    /** Takes a rank's answer; true once all have answered. */
    boolean answered(int worker, long ofStep, CoordinatorMessage answer, Collection<Integer> ranks) {
        if (phase != Phase.WRITING || step != ofStep || !ranks.contains(worker)) {
            return false;
        }
        answers.put(worker, answer);
        return answers.keySet().containsAll(ranks);
    }

    /** The first failure among the answers, or null. */
    ShardFailed failure() {
        return answers.values().stream()
                .filter(ShardFailed.class::isInstance)
                .map(ShardFailed.class::cast)
                .findFirst()
                .orElse(null);
    }

    /** All shards, by rank: the directory may get its name. */
    List<ShardWritten> commit() {
        phase = Phase.COMMITTING;
        return answers.values().stream()
                .map(ShardWritten.class::cast)
                .sorted(Comparator.comparingInt(ShardWritten::rank))
                .toList();
    }

    /** The checkpoint exists. */
    void committed(long ofStep, String directory) {
        last = directory;
        lastStep = ofStep;
        phase = Phase.IDLE;
    }

    /** The attempt has ended without a checkpoint. */
    void failed() {
        phase = Phase.IDLE;
    }

    /** The writers are gone. Returns whether to remove what they wrote; what the file thread does is waited for instead. */
    boolean abandon() {
        boolean writing = phase == Phase.WRITING;
        if (writing) {
            phase = Phase.IDLE;
        }
        return writing;
    }

    /** How many of the steps up to this one no checkpoint holds; 0 as long as it is not known what the last one holds. */
    long unsaved(long reachedStep) {
        if (last == null) {
            return reachedStep;
        }
        return lastStep < 0 ? 0 : Math.max(0, reachedStep - lastStep);
    }

    /** All workers hold the state of the last checkpoint, or of the beginning where there is none. */
    void loaded(long ofStep) {
        lastStep = last == null ? -1 : ofStep;
    }
}
