package org.shardloom.kernels.collective.aeron;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Path;

/**
 * What may be tuned; ranks need not agree.
 *
 * @param mtuBytes largest packet: a multiple of 32, from 1024 to 65504 (8192 at most is sensible), no more than every network on
 *     the way carries
 * @param termBytes size of one term of a link's log, a power of two from 64 KiB; a link holds three terms at either end, in sparse
 *     files
 * @param directory where the driver keeps those files while it runs
 */
public record AeronOptions(int mtuBytes, int termBytes, Path directory) {
    private static final int ETHERNET = 1408;
    private static final int LOOPBACK = 8192;

    public AeronOptions {
        if (mtuBytes < 1024 || mtuBytes > 65504 || mtuBytes % 32 != 0) {
            throw new IllegalArgumentException("mtuBytes: want a multiple of 32 from 1024 to 65504, found " + mtuBytes);
        }
        if (termBytes < 64 << 10 || Integer.bitCount(termBytes) != 1 || mtuBytes > termBytes / 8) {
            throw new IllegalArgumentException(
                    "termBytes: want a power of two from 64 KiB, at least 8 * mtuBytes, found " + termBytes);
        }
    }

    /** Terms of 4 MiB under {@code java.io.tmpdir}; packets of 8 KiB on loopback, otherwise such as fit in Ethernet's. */
    public static AeronOptions defaults(String hostAddress) {
        boolean loopback;
        try {
            loopback = InetAddress.getByName(hostAddress).isLoopbackAddress();
        } catch (UnknownHostException e) {
            throw new IllegalArgumentException("hostAddress: no such host: " + hostAddress, e);
        }
        return new AeronOptions(loopback ? LOOPBACK : ETHERNET, 4 << 20, Path.of(System.getProperty("java.io.tmpdir")));
    }
}
