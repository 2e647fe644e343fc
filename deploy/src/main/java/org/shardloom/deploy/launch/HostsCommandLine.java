package org.shardloom.deploy.launch;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.shardloom.deploy.launch.HostsFile.Host;
import org.shardloom.protocol.message.RunSecret;

/**
 * Workers of several hosts, started through ssh on all but the coordinator's own. The program lies at the same place everywhere. The
 * secret goes through ssh's standard input, which stays open: a remote worker ends when it closes, so none outlives the coordinator.
 */
final class HostsCommandLine implements WorkerCommandLine {
    private final HostsFile hosts;
    private final LocalCommandLine local;
    private final Path jobFile;
    private final String own;
    private final String home;
    private final RunSecret secret;
    private final Map<Integer, Host> placed = new HashMap<>();

    /**
     * Of one run.
     *
     * @param jobFile canonical job file of the run, which all hosts see
     * @param own the coordinator's address, whose workers need no ssh
     * @param home directory of the program, on every host
     */
    HostsCommandLine(HostsFile hosts, LocalCommandLine local, Path jobFile, String own, String home, RunSecret secret) {
        this.hosts = hosts;
        this.local = local;
        this.jobFile = jobFile;
        this.own = own;
        this.home = home;
        this.secret = secret;
    }

    @Override
    public Process start(int workerId, String coordinator, ProcessBuilder builder) throws IOException {
        Host host = place(workerId);
        try {
            return isOwn(host)
                    ? local.start(workerId, coordinator, builder)
                    : remote(host, workerId, coordinator, builder);
        } catch (IOException e) {
            ended(workerId);
            throw e;
        }
    }

    /**
     * The first host with room. Where there is none, as while a worker that was dismissed is still ending, the one that is least beyond
     * what it may have.
     */
    private synchronized Host place(int workerId) {
        Host best = null;
        double least = Double.MAX_VALUE;
        for (Host host : hosts.hosts()) {
            long there = placed.values().stream().filter(host::equals).count();
            if (there < host.workers()) {
                best = host;
                break;
            }
            double load = (double) there / host.workers();
            if (load < least) {
                least = load;
                best = host;
            }
        }
        placed.put(workerId, best);
        return best;
    }

    private boolean isOwn(Host host) throws IOException {
        return host.address().equals(own)
                || InetAddress.getByName(host.address()).equals(InetAddress.getByName(own));
    }

    /** In a session of its own, as a worker of this host: Ctrl-C in a terminal must not end the connection before the checkpoint. */
    private Process remote(Host host, int workerId, String coordinator, ProcessBuilder builder) throws IOException {
        String command = String.join(
                " ",
                List.of(
                        "exec env SHARDLOOM_BUILD=never",
                        quoted(home + "/deploy/start.sh"),
                        "--role worker --insecure --secret-file -",
                        "--join",
                        coordinator,
                        "--id",
                        String.valueOf(workerId),
                        "--config",
                        quoted(jobFile.toString()),
                        "--host",
                        quoted(host.address())));
        builder.command(
                "setsid",
                "ssh",
                "-T",
                "-o",
                "BatchMode=yes",
                "-o",
                "ConnectTimeout=10",
                "-o",
                "ServerAliveInterval=15",
                host.address(),
                command);
        Process process = builder.start();
        OutputStream input = process.getOutputStream();
        input.write((secret.hex() + "\n").getBytes(StandardCharsets.US_ASCII));
        input.flush();
        return process;
    }

    private static String quoted(String word) {
        return "'" + word.replace("'", "'\\''") + "'";
    }

    @Override
    public synchronized void ended(int workerId) {
        placed.remove(workerId);
    }
}
