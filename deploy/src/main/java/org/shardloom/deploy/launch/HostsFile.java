package org.shardloom.deploy.launch;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * The hosts of a run and how many workers each may have, in the order in which they are filled.
 *
 * <pre>
 *   # address that the other hosts reach, and ssh; number of workers (default 1)
 *   10.0.0.1  2
 *   10.0.0.2  2
 * </pre>
 */
public record HostsFile(List<Host> hosts) {
    /** A line of the file. */
    public record Host(String address, int workers) {}

    public HostsFile {
        hosts = List.copyOf(hosts);
    }

    /**
     * Reads the file.
     *
     * @throws IOException naming file and line of what is wrong
     */
    public static HostsFile read(Path file) throws IOException {
        if (!Files.isReadable(file)) {
            throw new IOException("--hosts " + file + ": no such file");
        }
        List<Host> hosts = new ArrayList<>();
        Set<String> seen = new HashSet<>();
        List<String> lines = Files.readAllLines(file);
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).replaceFirst("#.*", "").strip();
            if (line.isEmpty()) {
                continue;
            }
            String[] words = line.split("\\s+");
            String where = file + ":" + (i + 1) + ": ";
            if (words.length > 2 || words[0].startsWith("-")) {
                throw new IOException(where + "expected an address and a number of workers, found '" + line + "'");
            }
            if (words[0].contains("@") || words[0].equals("localhost") || words[0].startsWith("127.")) {
                throw new IOException(where + words[0] + " is not an address that the other hosts reach"
                        + (words[0].contains("@") ? "; put the user into ssh's configuration" : ""));
            }
            if (!seen.add(words[0])) {
                throw new IOException(where + words[0] + " stands there twice; give its number of workers once");
            }
            hosts.add(new Host(words[0], words.length == 1 ? 1 : number(words[1], where)));
        }
        if (hosts.isEmpty()) {
            throw new IOException(file + " names no host");
        }
        return new HostsFile(hosts);
    }

    private static int number(String word, String where) throws IOException {
        if (!word.matches("[1-9]\\d{0,3}")) {
            throw new IOException(where + "the number of workers is a positive integer, not '" + word + "'");
        }
        return Integer.parseInt(word);
    }

    /** Workers that all hosts may have together. */
    public int workers() {
        return hosts.stream().mapToInt(Host::workers).sum();
    }
}
