package org.shardloom.deploy.doctor;

import java.util.Locale;

/** Sizes as people read them: GB are 10^9 bytes. */
public final class Bytes {
    private Bytes() {}

    /** As in 12.5 GB. */
    public static String text(long bytes) {
        if (bytes == Long.MAX_VALUE) {
            return "unlimited";
        }
        return bytes < 100_000_000
                ? String.format(Locale.ROOT, "%.2f MB", bytes / 1e6)
                : String.format(Locale.ROOT, "%.1f GB", bytes / 1e9);
    }
}
