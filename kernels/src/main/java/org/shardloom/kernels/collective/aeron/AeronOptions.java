package org.shardloom.kernels.collective.aeron;

import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.nio.file.Path;

/**
 * What may be tuned; ranks need not agree.
 *
 * @param mtuBytes largest packet to and from other hosts: a multiple of 32 from 1024 to 65504, no more than every network on the
 *     way carries. A link uses the smaller one of its two ends, and less where the system's socket buffers are small
 * @param localMtuBytes the same between ranks of one host address
 * @param termBytes size of one term of a link's log, a power of two from 64 KiB; a link holds three terms at either end
 * @param directory where the driver keeps those terms, in sparse files, while it runs
 */
public record AeronOptions(int mtuBytes, int localMtuBytes, int termBytes, Path directory) {
    private static final int MIN_TERM = 64 << 10;
    private static final int MAX_TERM = 1 << 20;
    /** Of all links together: what lies in the terms of one process at most, unless there are very many peers. */
    private static final int TERMS_BYTES = 48 << 20;
    /** For the headers of IP and UDP, and of a tunnel that the interface does not know of. */
    private static final int HEADERS_BYTES = 92;

    private static final int LOOPBACK_MTU = 65536;
    private static final int ETHERNET_MTU = 1500;

    public AeronOptions {
        if (termBytes < MIN_TERM || Integer.bitCount(termBytes) != 1) {
            throw new IllegalArgumentException("termBytes: want a power of two from 64 KiB, found " + termBytes);
        }
        check("mtuBytes", mtuBytes, termBytes);
        check("localMtuBytes", localMtuBytes, termBytes);
    }

    private static void check(String name, int mtu, int termBytes) {
        if (mtu < 1024 || mtu > 65504 || mtu % 32 != 0 || mtu > termBytes / 8) {
            throw new IllegalArgumentException(
                    name + ": want a multiple of 32 from 1024 to 65504, at most termBytes / 8, found " + mtu
                            + " with termBytes " + termBytes);
        }
    }

    /**
     * Packets such as the host's interface and loopback carry, terms of 1 MiB (less from 9 peers on, so that their sum stays within
     * 48 MiB), files under {@code java.io.tmpdir}.
     *
     * @param hostAddress at which the other ranks reach this one
     * @param peers number of the other ranks
     */
    public static AeronOptions defaults(String hostAddress, int peers) {
        int fair = Integer.highestOneBit(TERMS_BYTES / 6 / Math.max(1, peers));
        int term = Math.max(MIN_TERM, Math.min(MAX_TERM, fair));
        return new AeronOptions(
                packet(interfaceMtu(hostAddress), term),
                packet(LOOPBACK_MTU, term),
                term,
                Path.of(System.getProperty("java.io.tmpdir")));
    }

    /** Deletes, where {@link #defaults} puts files, those of processes that were killed. */
    public static void removeLeftovers() {
        DriverDirectory.sweep(Path.of(System.getProperty("java.io.tmpdir")));
    }

    /** The same with another directory. */
    public AeronOptions in(Path other) {
        return new AeronOptions(mtuBytes, localMtuBytes, termBytes, other);
    }

    private static int packet(int mtu, int termBytes) {
        return Math.max(1024, Math.min(mtu - HEADERS_BYTES, termBytes / 8) & -32);
    }

    private static int interfaceMtu(String hostAddress) {
        try {
            InetAddress address = InetAddress.getByName(hostAddress);
            NetworkInterface found = NetworkInterface.getByInetAddress(address);
            if (found != null) {
                return Math.min(found.getMTU(), LOOPBACK_MTU);
            }
            // Loopback answers to more addresses than it lists; any other that this host does not have cannot be
            // listened on.
            return address.isLoopbackAddress() ? LOOPBACK_MTU : ETHERNET_MTU;
        } catch (UnknownHostException e) {
            throw new IllegalArgumentException("hostAddress: no such host: " + hostAddress, e);
        } catch (SocketException e) {
            throw new IllegalArgumentException(
                    "hostAddress: cannot ask the interface of " + hostAddress + " for its MTU", e);
        }
    }
}
