package org.shardloom.coordinator.run;

import com.google.protobuf.ByteString;
import com.google.protobuf.util.JsonFormat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.shardloom.protocol.checkpoint.Guard;
import org.shardloom.protocol.checkpoint.Manifest;
import org.shardloom.protocol.checkpoint.Shard;
import org.shardloom.protocol.checkpoint.Unit;
import org.shardloom.protocol.disk.DiskSpace;
import org.shardloom.protocol.disk.NoSpaceException;
import org.shardloom.protocol.disk.WholeDirectory;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.GuardState;
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
    private static final Pattern REPLACED =
            Pattern.compile("(checkpoint-\\d{1,18}|final)" + Pattern.quote(WholeDirectory.REPLACED));
    /** Room beyond the shards: their headers, the manifest, logs. */
    private static final long MARGIN = 2L << 20;

    private static final Logger LOG = LoggerFactory.getLogger(CheckpointFiles.class);
    private final Path outputDir;
    private final int keepLast;
    private final int keepBest;

    /**
     * The checkpoints of an output directory.
     *
     * @param keepLast how many are kept; at least the newest
     * @param keepBest how many of lowest evaluation loss are kept besides
     */
    public CheckpointFiles(Path outputDir, int keepLast, int keepBest) {
        this.outputDir = outputDir;
        this.keepLast = Math.max(1, keepLast);
        this.keepBest = keepBest;
    }

    /** Keeps the newest only. */
    public CheckpointFiles(Path outputDir, int keepLast) {
        this(outputDir, keepLast, 0);
    }

    /**
     * An empty directory for the checkpoint of the step.
     *
     * @param bytes that all shards will need together
     * @throws NoSpaceException when the disk cannot hold them
     */
    public Path prepare(long step, long bytes) throws IOException {
        Path directory = WholeDirectory.clear(checkpoint(step));
        DiskSpace.require(outputDir, bytes + MARGIN, "a checkpoint", outputDir);
        return Files.createDirectories(directory);
    }

    /** Removes what is there of an unfinished checkpoint. */
    public void discard(long step) throws IOException {
        WholeDirectory.delete(WholeDirectory.temporary(checkpoint(step)));
    }

    /**
     * Puts right what an earlier run was killed over: gives their names back to directories that lost them to others which never came,
     * and removes what is unfinished. Only for who holds the output directory's lock.
     */
    public static void heal(Path outputDir) throws IOException {
        if (!Files.isDirectory(outputDir)) {
            return;
        }
        try (Stream<Path> entries = Files.list(outputDir)) {
            for (Path entry : entries.toList()) {
                String name = entry.getFileName().toString();
                Matcher replaced = REPLACED.matcher(name);
                if (replaced.matches()) {
                    WholeDirectory.heal(outputDir.resolve(replaced.group(1)));
                } else if (name.endsWith(WholeDirectory.UNFINISHED)) {
                    WholeDirectory.delete(entry);
                }
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
            OptionalDouble evalLoss,
            EvaluationHistory evaluations,
            String jobYaml,
            String modelConfig,
            String contentDigest,
            String runId) {}

    /** Writes the manifest, gives the directory its name, and removes checkpoints beyond {@code keep_last} and {@code keep_best}. */
    public Path commit(Facts facts, List<ShardWritten> shards) throws IOException {
        Path target = checkpoint(facts.state().step());
        Path directory = WholeDirectory.temporary(target);
        Manifest.Builder manifest = Manifest.newBuilder()
                .setFormatVersion(1)
                .setStep(facts.state().step())
                .setUpdates(facts.state().updates())
                .setLossScale(facts.state().lossScale())
                .setGoodSteps(facts.state().goodSteps())
                .setGuard(guard(facts.state().guard()))
                .setWorldSize(facts.worldSize())
                .setSamplesConsumed(facts.samplesConsumed())
                .setLoss(facts.loss())
                .setJobYaml(facts.jobYaml())
                .setModelConfigJson(facts.modelConfig())
                .setContentDigest(facts.contentDigest())
                .setRunId(facts.runId());
        facts.units()
                .forEach(u ->
                        manifest.addUnits(Unit.newBuilder().setName(u.name()).setElements(u.elements())));
        facts.evalLoss().ifPresent(manifest::setEvalLoss);
        facts.evaluations().write(manifest);
        shards.forEach(s -> manifest.addShards(Shard.newBuilder()
                .setFile(s.file())
                .setBytes(s.bytes())
                .setChecksum(ByteString.copyFrom(s.checksum()))));
        Manifest built = manifest.build();
        Files.write(directory.resolve("manifest.pb"), built.toByteArray());
        Files.writeString(
                directory.resolve("manifest.json"), JsonFormat.printer().print(built));
        WholeDirectory.publish(target);
        try {
            retain(facts.state().step());
        } catch (IOException e) {
            LOG.warn("cannot remove an old checkpoint: {}", e.toString());
        }
        return target;
    }

    private static Guard guard(GuardState state) {
        return Guard.newBuilder()
                .setSteps(state.steps())
                .setLowLoss(state.lowLoss())
                .setLowNorm(state.lowNorm())
                .setUsualLogNorm(state.usualLogNorm())
                .setFirstLogNorm(state.firstLogNorm())
                .setSkipped(state.skipped())
                .setOverflows(state.overflows())
                .build();
    }

    /**
     * Renames the checkpoints of later steps than that of the resumed one: the run will not lead to them, and its newest is its own from
     * now on.
     *
     * @param resumed the directory of the checkpoint that the run goes on from, wherever it is and whatever its name
     * @return their new names
     */
    public static List<Path> setAside(Path outputDir, Path resumed) throws IOException {
        long step = Manifest.parseFrom(Files.readAllBytes(resumed.resolve("manifest.pb")))
                .getStep();
        List<Path> moved = new ArrayList<>();
        for (Path later : list(outputDir)) {
            if (step(later) > step && !Files.isSameFile(later, resumed)) {
                Path name = later.resolveSibling(later.getFileName() + ".set-aside");
                for (int n = 2; Files.exists(name); n++) {
                    name = later.resolveSibling(later.getFileName() + ".set-aside-" + n);
                }
                moved.add(Files.move(later, name));
            }
        }
        return moved;
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

    /** Removes the oldest. Those of later steps than the newest of this run are not its own. */
    private void retain(long newest) throws IOException {
        List<Path> all = list(outputDir);
        all.removeIf(checkpoint -> step(checkpoint) > newest);
        all.sort(Comparator.comparingLong(CheckpointFiles::step).reversed());
        List<Path> older = all.subList(Math.min(keepLast, all.size()), all.size());
        List<Path> best = keepBest == 0 ? List.of() : best(all);
        for (Path old : older) {
            if (!best.contains(old)) {
                WholeDirectory.remove(old);
            }
        }
    }

    /** Those of lowest evaluation loss; of equal ones the newer. */
    private List<Path> best(List<Path> newestFirst) {
        Map<Path, Double> losses = new LinkedHashMap<>();
        for (Path checkpoint : newestFirst) {
            try {
                Manifest manifest = Manifest.parseFrom(Files.readAllBytes(checkpoint.resolve("manifest.pb")));
                if (manifest.hasEvalLoss()) {
                    losses.put(checkpoint, manifest.getEvalLoss());
                }
            } catch (IOException e) {
                LOG.warn("{} has no readable manifest: it is not kept as one of the best", checkpoint);
            }
        }
        return losses.entrySet().stream()
                .sorted(Map.Entry.comparingByValue())
                .limit(keepBest)
                .map(Map.Entry::getKey)
                .toList();
    }

    private Path checkpoint(long step) {
        return outputDir.resolve("checkpoint-" + step);
    }
}
