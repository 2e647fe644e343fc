package org.shardloom.worker.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Collects what is wrong with records: the first few in words, the others as a number. */
final class Problems {
    private static final int LISTED = 10;

    private final List<String> listed = new ArrayList<>();
    private long count;

    void add(Path file, long line, String reason) {
        count++;
        if (listed.size() < LISTED) {
            listed.add(file + ":" + line + ": " + reason);
        }
    }

    /**
     * @throws DataException if there were any
     */
    void throwIfAny() {
        if (count == 0) {
            return;
        }
        if (count == 1) {
            throw new DataException(listed.get(0));
        }
        String more = count > LISTED ? "\n  and " + (count - LISTED) + " more" : "";
        throw new DataException(count + " lines can't be used:\n  " + String.join("\n  ", listed) + more);
    }
}
