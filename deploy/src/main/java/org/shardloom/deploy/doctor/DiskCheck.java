package org.shardloom.deploy.doctor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.shardloom.worker.plan.JobPlan;

/** Room for checkpoints and the final model in output_dir. */
final class DiskCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        return situation.needs().map(DiskCheck::of).orElse(List.of());
    }

    private static List<Finding> of(JobNeeds needs) {
        Path output = needs.job().outputDir();
        JobPlan plan = needs.plan();
        long wanted = Math.max(0, plan.retainedBytes() + plan.finalBytes() - there(output));
        long free;
        try {
            free = Files.getFileStore(existing(output)).getUsableSpace();
        } catch (IOException e) {
            return List.of(
                    Finding.warning("disk", "no file system is found for " + output + ": " + e.getMessage(), ""));
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
