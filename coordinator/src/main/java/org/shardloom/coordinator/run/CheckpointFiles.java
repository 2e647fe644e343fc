package org.shardloom.coordinator.run;

import com.google.protobuf.ByteString;
import com.google.protobuf.util.JsonFormat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.shardloom.protocol.checkpoint.Manifest;
import org.shardloom.protocol.checkpoint.Shard;
import org.shardloom.protocol.checkpoint.Unit;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.UnitSize;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The coordinator's part of checkpoints: a directory under a temporary name, the manifest, the rename that makes it exist, and
 * retention. Blocking; not for a dispatcher.
 */
public final class CheckpointFiles {
    private static final Pattern NAME = Pattern.compile("checkpoint-(\\d{1,18})");
    private static final String TEMPORARY = ".writing";
    /** Room beyond the shards: their headers, the manifest, logs. */
    private static final long MARGIN = 2L << 20;

    private static final String REMOVED = ".removed" + TEMPORARY;
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointFiles.class);
    private final Path outputDir;
    private final int keepLast;

    /**
     * The checkpoints of an output directory.
     *
     * @param keepLast how many are kept; at least the newest
     */
    public CheckpointFiles(Path outputDir, int keepLast) {
        this.outputDir = outputDir;
        this.keepLast = Math.max(1, keepLast);
    }

    /**
     * An empty directory for the checkpoint of the step.
     *
     * @param bytes that all shards will need together
     * @throws IOException whose message begins with "no space" when the disk cannot hold them
     */
    public Path prepare(long step, long bytes) throws IOException {
        Path directory = temporary(step);
        delete(directory);
        long free = Files.getFileStore(outputDir).getUsableSpace();
        if (free < bytes + MARGIN) {
            throw new IOException(String.format(
                    Locale.ROOT,
                    "no space for a checkpoint in %s: %.1f MB needed, %.1f MB free",
                    outputDir,
                    (bytes + MARGIN) / 1e6,
                    free / 1e6));
        }
        return Files.createDirectories(directory);
    }

    /** Removes what is there of an unfinished checkpoint. */
    public void discard(long step) throws IOException {
        delete(temporary(step));
    }

    /** Removes every unfinished checkpoint: what an earlier run was killed over. */
    public void discardAll() throws IOException {
        if (!Files.isDirectory(outputDir)) {
            return;
        }
        try (Stream<Path> entries = Files.list(outputDir)) {
            for (Path entry : entries.filter(p -> p.getFileName().toString().endsWith(TEMPORARY))
                    .toList()) {
                delete(entry);
            }
        }
    }

    /** Everything of a manifest that does not come from the workers' shards. */
    public record Facts(
            TrainingState state,
            int worldSize,
            List<UnitSize> units,
            long samplesConsumed,
            double loss,
            String jobYaml,
            String modelConfig,
            String runId) {}

    /** Writes the manifest, gives the directory its name, and removes checkpoints beyond {@code keep_last}. */
    public Path commit(Facts facts, List<ShardWritten> shards) throws IOException {
        Path directory = temporary(facts.state().step());
        Manifest.Builder manifest = Manifest.newBuilder()
                .setFormatVersion(1)
                .setStep(facts.state().step())
                .setUpdates(facts.state().updates())
                .setLossScale(facts.state().lossScale())
                .setGoodSteps(facts.state().goodSteps())
                .setWorldSize(facts.worldSize())
                .setSamplesConsumed(facts.samplesConsumed())
                .setLoss(facts.loss())
                .setJobYaml(facts.jobYaml())
                .setModelConfigJson(facts.modelConfig())
                .setRunId(facts.runId());
        facts.units()
                .forEach(u ->
                        manifest.addUnits(Unit.newBuilder().setName(u.name()).setElements(u.elements())));
        shards.forEach(s -> manifest.addShards(Shard.newBuilder()
                .setFile(s.file())
                .setBytes(s.bytes())
                .setChecksum(ByteString.copyFrom(s.checksum()))));
        Manifest built = manifest.build();
        write(directory.resolve("manifest.pb"), built.toByteArray());
        write(
                directory.resolve("manifest.json"),
                JsonFormat.printer().print(built).getBytes(StandardCharsets.UTF_8));
        sync(directory);
        Path target = outputDir.resolve("checkpoint-" + facts.state().step());
        Path replaced = setAside(target);
        Files.move(directory, target, StandardCopyOption.ATOMIC_MOVE);
        sync(outputDir);
        try {
            delete(replaced);
            retain(facts.state().step());
        } catch (IOException e) {
            LOG.warn("cannot remove an old checkpoint: {}", e.toString());
        }
        return target;
    }

    /** The newest complete checkpoint of the output directory. */
    public static Optional<Path> latest(Path outputDir) throws IOException {
        return list(outputDir).stream().max(Comparator.comparingLong(CheckpointFiles::step));
    }

    private static List<Path> list(Path outputDir) throws IOException {
        if (!Files.isDirectory(outputDir)) {
            return List.of();
        }
        try (Stream<Path> entries = Files.list(outputDir)) {
            return new ArrayList<>(
                    entries.filter(p -> NAME.matcher(p.getFileName().toString()).matches())
                            .filter(p -> Files.exists(p.resolve("manifest.pb")))
                            .toList());
        }
    }

    private static long step(Path checkpoint) {
        Matcher matcher = NAME.matcher(checkpoint.getFileName().toString());
        return matcher.matches() ? Long.parseLong(matcher.group(1)) : -1;
    }

    /** Removes the oldest up to the newest one. Those of later steps are an earlier run's, which went on further: not ours. */
    private void retain(long newest) throws IOException {
        List<Path> all = list(outputDir);
        all.removeIf(checkpoint -> step(checkpoint) > newest);
        all.sort(Comparator.comparingLong(CheckpointFiles::step).reversed());
        for (Path old : all.subList(Math.min(keepLast, all.size()), all.size())) {
            delete(setAside(old));
        }
    }

    /** Takes the name from a checkpoint, if it is there, so that a half removed one is never taken for a whole one. */
    private Path setAside(Path checkpoint) throws IOException {
        Path aside = outputDir.resolve(checkpoint.getFileName() + REMOVED);
        delete(aside);
        if (Files.exists(checkpoint)) {
            Files.move(checkpoint, aside, StandardCopyOption.ATOMIC_MOVE);
        }
        return aside;
    }

    private Path temporary(long step) {
        return outputDir.resolve("checkpoint-" + step + TEMPORARY);
    }

    private static void write(Path file, byte[] bytes) throws IOException {
        try (FileChannel channel = FileChannel.open(
                file, StandardOpenOption.CREATE, StandardOpenOption.WRITE, StandardOpenOption.TRUNCATE_EXISTING)) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            while (buffer.hasRemaining()) {
                channel.write(buffer);
            }
            channel.force(true);
        }
    }

    private static void sync(Path directory) throws IOException {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        }
    }

    private static void delete(Path tree) throws IOException {
        try {
            Files.walkFileTree(tree, new SimpleFileVisitor<>() {
                @Override
                public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                    Files.deleteIfExists(file);
                    return FileVisitResult.CONTINUE;
                }

                @Override
                public FileVisitResult postVisitDirectory(Path directory, IOException e) throws IOException {
                    Files.deleteIfExists(directory);
                    return FileVisitResult.CONTINUE;
                }
            });
        } catch (NoSuchFileException e) {
            // Nothing to remove.
        }
    }
}
