package org.shardloom.protocol.config;

import java.util.Collection;
import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;

/** Guesses what somebody meant to write. */
final class Nearest {
    private static final int CHARACTERS_PER_MISTAKE = 3;

    private Nearest() {}

    /** Returns the nearest candidate, if it is near: one mistake in three characters, and always one mistake. */
    static Optional<String> of(String text, Collection<String> candidates) {
        String wanted = text.toLowerCase(Locale.ROOT).replace('-', '_');
        return candidates.stream()
                .filter(name -> distance(wanted, name)
                        <= Math.max(1, Math.max(wanted.length(), name.length()) / CHARACTERS_PER_MISTAKE))
                .min(Comparator.comparingInt(name -> distance(wanted, name)));
    }

    /** Counts the insertions, deletions, replacements and swaps of neighbours that turn one text into the other. */
    static int distance(String a, String b) {
        int[][] cost = new int[a.length() + 1][b.length() + 1];
        for (int i = 0; i <= a.length(); i++) {
            for (int j = 0; j <= b.length(); j++) {
                if (i == 0 || j == 0) {
                    cost[i][j] = i + j;
                    continue;
                }
                boolean same = a.charAt(i - 1) == b.charAt(j - 1);
                cost[i][j] =
                        Math.min(cost[i - 1][j - 1] + (same ? 0 : 1), Math.min(cost[i - 1][j], cost[i][j - 1]) + 1);
                boolean swapped =
                        i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1);
                if (swapped) {
                    cost[i][j] = Math.min(cost[i][j], cost[i - 2][j - 2] + 1);
                }
            }
        }
        return cost[a.length()][b.length()];
    }
}
