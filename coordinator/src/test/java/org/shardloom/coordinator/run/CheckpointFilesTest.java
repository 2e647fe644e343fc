package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.checkpoint.Manifest;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.UnitSize;

@Timeout(30)
class CheckpointFilesTest {
    @TempDir
    Path out;

    private static CheckpointFiles.Facts facts(long step) {
        return facts(step, java.util.OptionalDouble.empty());
    }

    private static CheckpointFiles.Facts facts(long step, java.util.OptionalDouble evalLoss) {
        return new CheckpointFiles.Facts(
                new TrainingState(step, step - 1, 1024, 5, new GuardState(30, 1.5, 0.25, -1, -2, 3, 1)),
                2,
                List.of(new UnitSize("head", 100)),
                step * 16,
                1.5,
                evalLoss,
                new EvaluationHistory(1.25, step - 2, step, 2),
                "job",
                "{}",
                "digest",
                "run");
    }

    private static final List<ShardWritten> SHARDS = List.of(
            new ShardWritten(1, 0, 4, 0, "shard-0-of-2.safetensors", 3, new byte[32]),
            new ShardWritten(1, 1, 4, 1, "shard-1-of-2.safetensors", 3, new byte[32]));

    private Path write(CheckpointFiles files, long step) throws IOException {
        Path directory = files.prepare(step, 1000);
        Files.writeString(directory.resolve("shard-0-of-2.safetensors"), "abc");
        Files.writeString(directory.resolve("shard-1-of-2.safetensors"), "def");
        return files.commit(facts(step), SHARDS);
    }

    private Set<String> names() throws IOException {
        try (Stream<Path> entries = Files.list(out)) {
            return entries.map(p -> p.getFileName().toString()).collect(Collectors.toCollection(TreeSet::new));
        }
    }

    @Test
    void aRunThatGoesOnFromAnEarlierCheckpointSetsTheLaterOnesAside() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 5);
        for (long step : new long[] {10, 20, 30}) {
            write(files, step);
        }
        Path named = Files.createSymbolicLink(out.resolve("best"), out.resolve("checkpoint-30"));
        assertEquals(List.of(), CheckpointFiles.setAside(out, named));
        Files.delete(named);
        assertEquals(
                2, CheckpointFiles.setAside(out, out.resolve("checkpoint-10")).size());
        assertEquals(Set.of("checkpoint-10", "checkpoint-20.set-aside", "checkpoint-30.set-aside"), names());
        write(files, 20);
        assertEquals(Optional.of(out.resolve("checkpoint-20")), CheckpointFiles.latest(out));
        assertEquals(
                List.of(out.resolve("checkpoint-20.set-aside-2")),
                CheckpointFiles.setAside(out, out.resolve("checkpoint-10")));
        assertEquals(List.of(), CheckpointFiles.setAside(out, out.resolve("checkpoint-20.set-aside")));
    }

    @Test
    void aCommittedCheckpointHasItsManifestAndItsShards() throws IOException {
        Path checkpoint = write(new CheckpointFiles(out, 2), 4);
        assertEquals(out.resolve("checkpoint-4"), checkpoint);
        Manifest manifest = Manifest.parseFrom(Files.readAllBytes(checkpoint.resolve("manifest.pb")));
        assertEquals(4, manifest.getStep());
        assertEquals(3, manifest.getUpdates());
        assertEquals(1024, manifest.getLossScale());
        assertEquals(64, manifest.getSamplesConsumed());
        assertEquals(
                "30 1.5 0.25 -1.0 -2.0 3 1",
                String.join(
                        " ",
                        manifest.getGuard().getAllFields().values().stream()
                                .map(Object::toString)
                                .toList()));
        assertEquals(new EvaluationHistory(1.25, 2, 4, 2), EvaluationHistory.of(checkpoint));
        assertEquals(2, manifest.getWorldSize());
        assertEquals("shard-1-of-2.safetensors", manifest.getShards(1).getFile());
        assertEquals("head", manifest.getUnits(0).getName());
        assertTrue(Files.readString(checkpoint.resolve("manifest.json")).contains("\"runId\": \"run\""));
        assertEquals("abc", Files.readString(checkpoint.resolve("shard-0-of-2.safetensors")));
        assertEquals(Set.of("checkpoint-4"), names());
    }

    @Test
    void onlyCompleteDirectoriesAreTheLatest() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 5);
        assertEquals(Optional.empty(), CheckpointFiles.latest(out));
        assertEquals(Optional.empty(), CheckpointFiles.latest(out.resolve("absent")));
        write(files, 9);
        write(files, 10);
        files.prepare(12, 1000);
        Files.createDirectory(out.resolve("checkpoint-13"));
        Files.createDirectory(out.resolve("checkpoint-x"));
        Files.writeString(out.resolve("checkpoint-14"), "a file");
        Path absurd = Files.createDirectory(out.resolve("checkpoint-99999999999999999999999"));
        Files.writeString(absurd.resolve("manifest.pb"), "");
        assertEquals(Optional.of(out.resolve("checkpoint-10")), CheckpointFiles.latest(out));
    }

    @Test
    void theNewestOnesAreKept() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        for (long step : List.of(2L, 4L, 10L)) {
            write(files, step);
        }
        assertEquals(Set.of("checkpoint-4", "checkpoint-10"), names());
        CheckpointFiles none = new CheckpointFiles(out, 0);
        write(none, 12);
        assertEquals(Set.of("checkpoint-12"), names());
    }

    @Test
    void theCheckpointThatWasJustWrittenIsKeptEvenWhenLaterOnesExist() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        for (long step : List.of(4L, 8L, 12L)) {
            write(files, step);
        }
        write(files, 6); // a run that went on from an earlier checkpoint
        assertTrue(names().contains("checkpoint-6"));
        assertTrue(names().containsAll(Set.of("checkpoint-8", "checkpoint-12")), "not ours to remove");
    }

    @Test
    void aCheckpointOfTheSameStepIsReplaced() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        Path first = write(files, 4);
        Files.writeString(first.resolve("old"), "old");
        Path second = write(files, 4);
        assertEquals(first, second);
        assertFalse(Files.exists(second.resolve("old")));
        assertEquals(Set.of("checkpoint-4"), names());
    }

    @Test
    void preparingAgainGivesAnEmptyDirectory() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        Files.createDirectories(files.prepare(4, 1000).resolve("a/b"));
        try (Stream<Path> entries = Files.list(files.prepare(4, 1000))) {
            assertEquals(0, entries.count());
        }
    }

    @Test
    void unfinishedCheckpointsAreDiscardedAndNothingElse() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        write(files, 4);
        Files.writeString(files.prepare(6, 1000).resolve("shard"), "part");
        files.prepare(8, 1000);
        Files.writeString(out.resolve("job.yaml"), "x");
        files.discard(6);
        files.discard(6);
        assertEquals(Set.of("checkpoint-4", "checkpoint-8.writing", "job.yaml"), names());
        CheckpointFiles.heal(out);
        assertEquals(Set.of("checkpoint-4", "job.yaml"), names());
        CheckpointFiles.heal(out.resolve("absent"));
    }

    @Test
    void removingFollowsNoLinks() throws IOException {
        Path elsewhere = Files.createDirectory(out.resolve("elsewhere"));
        Files.writeString(elsewhere.resolve("precious"), "x");
        CheckpointFiles files = new CheckpointFiles(out, 2);
        Files.createSymbolicLink(files.prepare(4, 1000).resolve("link"), elsewhere);
        CheckpointFiles.heal(out);
        assertTrue(Files.exists(elsewhere.resolve("precious")));
    }

    @Test
    void aCheckpointThatWasBeingReplacedWhenTheRunWasKilledIsThereAgain() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        write(files, 4);
        Files.move(write(files, 6), out.resolve("checkpoint-6.replaced"));
        Files.createDirectory(out.resolve("checkpoint-6.writing"));
        Files.createDirectory(out.resolve("final.replaced"));
        Files.createDirectory(out.resolve("mine.replaced"));
        CheckpointFiles.heal(out);
        assertEquals(Set.of("checkpoint-4", "checkpoint-6", "final", "mine.replaced"), names());
        assertEquals(Optional.of(out.resolve("checkpoint-6")), CheckpointFiles.latest(out));
        Files.createDirectory(out.resolve("checkpoint-6.replaced"));
        CheckpointFiles.heal(out);
        assertEquals(Set.of("checkpoint-4", "checkpoint-6", "final", "mine.replaced"), names());
        assertEquals("abc", Files.readString(out.resolve("checkpoint-6/shard-0-of-2.safetensors")));
    }

    @Test
    void committingWhatWasNeverPreparedFailsAndLeavesTheOldOne() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        write(files, 4);
        assertThrows(IOException.class, () -> files.commit(facts(4), SHARDS));
        assertEquals(Set.of("checkpoint-4"), names());
    }

    @Test
    void aDiskThatCannotHoldAllShardsIsRefusedBeforeAnythingIsWritten() throws IOException {
        CheckpointFiles files = new CheckpointFiles(out, 2);
        IOException e = assertThrows(IOException.class, () -> files.prepare(3, Long.MAX_VALUE / 2));
        assertTrue(e.getMessage().startsWith("no space"), e.getMessage());
        try (Stream<Path> entries = Files.list(out)) {
            assertEquals(0, entries.count());
        }
    }

    @Test
    void theBestEvaluatedAreKeptBesidesTheNewest() throws Exception {
        CheckpointFiles files = new CheckpointFiles(out, 1, 2);
        double[] losses = {3, 1, 2, 1.5, 4, 5};
        for (int i = 0; i < losses.length; i++) {
            files.prepare(i + 1, 10);
            files.commit(facts(i + 1, java.util.OptionalDouble.of(losses[i])), SHARDS);
        }
        files.prepare(7, 10);
        files.commit(facts(7), SHARDS);
        try (java.util.stream.Stream<Path> left = java.nio.file.Files.list(out)) {
            assertEquals(
                    java.util.Set.of("checkpoint-2", "checkpoint-4", "checkpoint-7"),
                    left.map(p -> p.getFileName().toString())
                            .filter(n -> n.startsWith("checkpoint"))
                            .collect(java.util.stream.Collectors.toSet()));
        }
    }
}
