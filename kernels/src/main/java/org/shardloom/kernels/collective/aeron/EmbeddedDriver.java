package org.shardloom.kernels.collective.aeron;

import io.aeron.Aeron;
import io.aeron.AeronCounters;
import io.aeron.ChannelUriStringBuilder;
import io.aeron.CommonContext;
import io.aeron.ExclusivePublication;
import io.aeron.Image;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.driver.ThreadingMode;
import io.aeron.driver.status.SystemCounterDescriptor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardSocketOptions;
import java.nio.channels.DatagramChannel;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.agrona.CloseHelper;
import org.agrona.concurrent.SleepingMillisIdleStrategy;
import org.shardloom.kernels.collective.CollectiveException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One rank's media driver, client and subscription, in this process. Whoever holds the {@link #dutyCycle} makes the driver work; two
 * threads, asleep most of the time, do what must be done in between. The port is one that the operating system found free. Sessions
 * that do not belong to the group are counted and never read.
 */
final class EmbeddedDriver implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(EmbeddedDriver.class);
    private static final int STREAM = 7301;
    private static final int WANTED_SOCKET_BYTES = 2 << 20;
    private static final int MAX_WINDOW_BYTES = 1 << 20;
    private static final int SMALLEST_MTU = 1024;
    private static final int MAX_EARLY_SESSIONS = 4096;
    private static final long STATUS_INTERVAL_NS = TimeUnit.MILLISECONDS.toNanos(50);

    private final String hostAddress;
    private final AeronOptions options;
    private final DriverDirectory directory;
    private final int windowBytes;
    private MediaDriver driver;
    private DutyCycle dutyCycle;
    private Aeron client;
    private Subscription subscription;
    private final List<Integer> early = new ArrayList<>();
    private Set<Integer> members;
    private long strangers;

    private EmbeddedDriver(String hostAddress, AeronOptions options, int peers) {
        this.hostAddress = hostAddress;
        this.options = options;
        int socketBytes = grantedSocketBytes();
        if (socketBytes < WANTED_SOCKET_BYTES) {
            LOG.info(
                    "socket buffers of {} bytes are all that the system grants, {} would make transfers between hosts faster"
                            + " (sysctl net.core.rmem_max, net.core.wmem_max)",
                    socketBytes,
                    WANTED_SOCKET_BYTES);
        }
        // All peers may send at once into one socket buffer, and the system counts more than the payload against it:
        // what does not
        // fit is lost and sent again.
        int fair = Math.min(socketBytes / 2 / Math.max(1, peers), Math.min(MAX_WINDOW_BYTES, options.termBytes() / 2));
        this.windowBytes = Math.max(fair & -1024, 2 * SMALLEST_MTU);
        this.directory = DriverDirectory.create(options.directory());
    }

    /**
     * Starts the driver and listens.
     *
     * @param peers how many will send
     * @param liveness after which a peer that sends nothing, not even heartbeats, is taken for dead
     */
    static EmbeddedDriver start(String hostAddress, AeronOptions options, int peers, Duration liveness) {
        EmbeddedDriver started = new EmbeddedDriver(hostAddress, options, peers);
        try {
            started.launch(liveness);
        } catch (RuntimeException | Error e) {
            started.close();
            throw e instanceof LinkageError
                    ? new CollectiveException(
                            "Aeron does not start; does the JVM's command line have"
                                    + " --add-opens java.base/jdk.internal.misc=ALL-UNNAMED?",
                            e)
                    : new CollectiveException("Aeron does not start: " + e.getMessage(), e);
        }
        return started;
    }

    private void launch(Duration liveness) {
        ThreadFactory daemons = task -> {
            Thread thread = new Thread(task, "aeron");
            thread.setDaemon(true);
            return thread;
        };
        int socketBytes = grantedSocketBytes();
        driver = MediaDriver.launch(new MediaDriver.Context()
                .aeronDirectoryName(directory.driverPath())
                .dirDeleteOnStart(true)
                .dirDeleteOnShutdown(true)
                .threadingMode(ThreadingMode.INVOKER)
                .termBufferSparseFile(true)
                .publicationTermBufferLength(options.termBytes())
                .mtuLength(mtu(false))
                .socketRcvbufLength(socketBytes)
                .socketSndbufLength(socketBytes)
                .initialWindowLength(windowBytes)
                .statusMessageTimeoutNs(STATUS_INTERVAL_NS)
                .imageLivenessTimeoutNs(liveness.toNanos())
                .errorHandler(e -> LOG.warn("Aeron's driver: {}", e.toString())));
        dutyCycle = new DutyCycle(driver.sharedAgentInvoker());
        client = Aeron.connect(new Aeron.Context()
                .aeronDirectoryName(directory.driverPath())
                .threadFactory(daemons)
                .idleStrategy(new SleepingMillisIdleStrategy(4))
                .errorHandler(e -> LOG.warn("Aeron's client: {}", e.toString())));
        subscription = client.addSubscription(channel(hostAddress, 0).build(), STREAM, this::onImage, image -> {});
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(5);
        while (subscription.resolvedEndpoint() == null) {
            if (System.nanoTime() - deadline > 0) {
                throw new CollectiveException("no port of " + hostAddress + " to listen on");
            }
            LockSupport.parkNanos(1_000_000);
        }
    }

    private static ChannelUriStringBuilder channel(String host, int port) {
        return new ChannelUriStringBuilder()
                .media(CommonContext.UDP_MEDIA)
                .endpoint((host.indexOf(':') < 0 ? host : "[" + host + "]") + ":" + port);
    }

    /** What the operating system gives of the socket buffers that we would like. */
    private static int grantedSocketBytes() {
        try (DatagramChannel probe = DatagramChannel.open()) {
            probe.setOption(StandardSocketOptions.SO_RCVBUF, WANTED_SOCKET_BYTES);
            probe.setOption(StandardSocketOptions.SO_SNDBUF, WANTED_SOCKET_BYTES);
            return Math.min(
                    WANTED_SOCKET_BYTES,
                    Math.min(
                            probe.getOption(StandardSocketOptions.SO_RCVBUF),
                            probe.getOption(StandardSocketOptions.SO_SNDBUF)));
        } catch (IOException e) {
            throw new UncheckedIOException("no UDP socket to be had", e);
        }
    }

    private synchronized void onImage(Image image) {
        if (members != null) {
            countIfStrange(image.sessionId());
        } else if (early.size() < MAX_EARLY_SESSIONS) {
            early.add(image.sessionId());
        }
    }

    private void countIfStrange(int session) {
        if (!members.contains(session)) {
            strangers++;
            LOG.warn("a session that is not of this group was ignored (number {})", strangers);
        }
    }

    /** Says which sessions are of the group. */
    synchronized void admit(Set<Integer> sessions) {
        members = sessions;
        early.forEach(this::countIfStrange);
        early.clear();
    }

    /** Sessions seen that are not of the group. */
    synchronized long strangers() {
        return strangers;
    }

    private int port() {
        String endpoint = subscription.resolvedEndpoint();
        return Integer.parseInt(endpoint.substring(endpoint.lastIndexOf(':') + 1));
    }

    /** What makes the driver work. */
    DutyCycle dutyCycle() {
        return dutyCycle;
    }

    /** What this rank tells the others. */
    Offer offer() {
        return new Offer(hostAddress, port(), mtu(false), mtu(true));
    }

    /** Two packets fit in the window at least, so that one can be on its way while the other is read. */
    private int mtu(boolean local) {
        return Math.min(local ? options.localMtuBytes() : options.mtuBytes(), windowBytes / 2 & -32);
    }

    /**
     * Opens the stream to a peer; does not wait for it.
     *
     * @param mtuBytes largest packet to send
     */
    ExclusivePublication publish(String host, int port, int session, int mtuBytes) {
        return client.addExclusivePublication(
                channel(host, port)
                        .sessionId(session)
                        .termLength(options.termBytes())
                        .mtu(mtuBytes)
                        .build(),
                STREAM);
    }

    /** The stream that comes with this session, or null while there is none. */
    Image image(int session) {
        return subscription.imageBySessionId(session);
    }

    /** Whether the driver has sent all that was given to the publication. */
    boolean hasSent(ExclusivePublication publication) {
        int counter = client.countersReader()
                .findByTypeIdAndRegistrationId(
                        AeronCounters.DRIVER_SENDER_POSITION_TYPE_ID, publication.registrationId());
        return counter < 0 || client.countersReader().getCounterValue(counter) >= publication.position();
    }

    /** Stops sending and listening; the driver still tells the peers so. */
    void hangUp() {
        CloseHelper.quietClose(subscription);
        LockSupport.parkNanos(2 * STATUS_INTERVAL_NS);
    }

    /** Packets lost are the first thing to look at when a network is slow. */
    private void logLosses() {
        if (client != null && !client.isClosed()) {
            long lost = client.countersReader().getCounterValue(SystemCounterDescriptor.NAK_MESSAGES_SENT.id());
            long again = client.countersReader().getCounterValue(SystemCounterDescriptor.RETRANSMITS_SENT.id());
            if (lost + again > 0) {
                LOG.info("packets were lost: asked {} times for what did not come, sent {} times again", lost, again);
            }
        }
    }

    @Override
    public void close() {
        logLosses();
        CloseHelper.quietCloseAll(client, dutyCycle, driver, directory);
    }
}
