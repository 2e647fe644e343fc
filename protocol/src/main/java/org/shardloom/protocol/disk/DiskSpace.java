package org.shardloom.protocol.disk;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** Room on disks. */
public final class DiskSpace {
    private DiskSpace() {}

    /**
     * Asks for room before anything is written.
     *
     * @param directory existing, on the disk in question
     * @param what needs the room, for people
     * @param where it will be, for people
     * @throws NoSpaceException when the free space cannot hold the bytes
     */
    public static void require(Path directory, long bytes, String what, Path where) throws IOException {
        long free = Files.getFileStore(directory).getUsableSpace();
        if (free < bytes) {
            throw new NoSpaceException(String.format(
                    Locale.ROOT,
                    "no space for %s in %s: %.1f MB needed, %.1f MB free",
                    what,
                    where,
                    bytes / 1e6,
                    free / 1e6));
        }
    }

    /** Whether that went wrong because a disk is full or a quota used up; Java has no exception of its own for it. */
    public static boolean isFull(Throwable failure) {
        if (failure instanceof NoSpaceException) {
            return true;
        }
        String text = String.valueOf(failure.getMessage()).toLowerCase(Locale.ROOT);
        return failure instanceof IOException
                && (text.contains("no space") || text.contains("quota exceeded") || text.contains("not enough space"));
    }

    /** The failure, as a {@link NoSpaceException} where {@link #isFull} says that it is one. */
    public static IOException explained(IOException failure) {
        return isFull(failure) && !(failure instanceof NoSpaceException)
                ? new NoSpaceException(failure.getMessage(), failure)
                : failure;
    }
}
