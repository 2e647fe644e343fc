package org.shardloom.deploy.launch;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
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
    private final String own;
    private final String home;
    private final RunSecret secret;
    private final Map<Integer, Host> placed = new HashMap<>();

    /**
     * Of one run.
     *
     * @param own the coordinator's address, whose workers need no ssh
     * @param home directory of the program, on every host
     */
    HostsCommandLine(HostsFile hosts, LocalCommandLine local, String own, String home, RunSecret secret) {
        this.hosts = hosts;
        this.local = local;
        this.own = own;
        this.home = home;
        this.secret = secret;
    }

    @Override
    public Process start(int workerId, String coordinator, ProcessBuilder builder) throws IOException {
        Host host = place(workerId);
        try {
            return host.address().equals(own)
                    ? local.start(workerId, coordinator, builder)
                    : remote(host, workerId, coordinator, builder);
        } catch (IOException e) {
            ended(workerId);
            throw e;
        }
    }

    /** The first host with room. */
    private synchronized Host place(int workerId) throws IOException {
        for (Host host : hosts.hosts()) {
            if (placed.values().stream().filter(host::equals).count() < host.workers()) {
                placed.put(workerId, host);
                return host;
            }
        }
        throw new IOException("no host has room for another worker: the hosts file has " + hosts.workers() + " in all");
    }

    private Process remote(Host host, int workerId, String coordinator, ProcessBuilder builder) throws IOException {
        String command = String.join(
                " ",
                List.of(
                        "exec",
                        quoted(home + "/deploy/start.sh"),
                        "--role",
                        "worker",
                        "--join",
                        coordinator,
                        "--id",
                        String.valueOf(workerId),
                        "--host",
                        quoted(host.address()),
                        "--insecure",
                        "--secret-file",
                        "-"));
        Process process = builder.command("ssh", "-o", "BatchMode=yes", host.address(), command)
                .start();
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
