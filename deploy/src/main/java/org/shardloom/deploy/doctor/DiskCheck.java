package org.shardloom.deploy.doctor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.shardloom.worker.plan.JobPlan;

/** Room for checkpoints and the final model in output_dir; without a job, room in the directory that runs are started from. */
final class DiskCheck implements Check {
    /** A few checkpoints of an adapter and its optimizer's state fit. */
    private static final long LITTLE = 10_000_000_000L;

    @Override
    public List<Finding> look(Situation situation) {
        return situation
                .needs()
                .map(DiskCheck::of)
                .orElseGet(() -> of(Path.of("").toAbsolutePath()));
    }

    private static List<Finding> of(Path directory) {
        try {
            return List.of(of(directory, Files.getFileStore(directory).getUsableSpace()));
        } catch (IOException e) {
            return List.of(unknown(directory, e));
        }
    }

    /** What free space means where nobody knows how much a job will take. */
    static Finding of(Path directory, long free) {
        String found = Bytes.text(free) + " are free in " + directory;
        return free >= LITTLE
                ? Finding.ok("disk", found)
                : Finding.warning(
                        "disk",
                        found + ": a run whose checkpoints do not fit pauses",
                        "make room, or choose an output_dir elsewhere; with --config FILE the job's sizes are counted");
    }

    private static Finding unknown(Path path, IOException e) {
        return Finding.warning("disk", "no file system is found for " + path + ": " + e.getMessage(), "");
    }

    private static List<Finding> of(JobNeeds needs) {
        Path output = needs.job().outputDir();
        JobPlan plan = needs.plan();
        long wanted = Math.max(0, plan.retainedBytes() + plan.finalBytes() - there(output));
        long free;
        try {
            free = Files.getFileStore(existing(output)).getUsableSpace();
        } catch (IOException e) {
            return List.of(unknown(output, e));
        }
        String sizes = "checkpoints and final model come to " + Bytes.text(plan.retainedBytes() + plan.finalBytes())
                + " (" + Bytes.text(plan.checkpointBytes()) + " a checkpoint), and " + Bytes.text(free)
                + " are free for " + output;
        if (wanted > free) {
            return List.of(Finding.warning(
                    "disk",
                    sizes + ": the run will pause when the disk is full",
                    "choose another output_dir, or a smaller checkpoint.keep_last or keep_best"));
        }
        return List.of(Finding.ok("disk", sizes));
    }

    /** The directory, or what of it is there. */
    private static Path existing(Path directory) {
        Path existing = directory.toAbsolutePath();
        while (!Files.exists(existing) && existing.getParent() != null) {
            existing = existing.getParent();
        }
        return existing;
    }

    /** Checkpoints of an earlier part of the run: newer ones take their place. */
    private static long there(Path output) {
        if (!Files.isDirectory(output)) {
            return 0;
        }
        try (Stream<Path> files = Files.find(output, 2, (path, attributes) -> attributes.isRegularFile())) {
            return files.filter(f -> f.getParent().getFileName().toString().matches("checkpoint-\\d+"))
                    .mapToLong(f -> f.toFile().length())
                    .sum();
        } catch (IOException e) {
            return 0;
        }
    }
}
