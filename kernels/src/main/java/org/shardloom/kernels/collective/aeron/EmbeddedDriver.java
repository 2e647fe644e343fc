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
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.SleepingMillisIdleStrategy;
import org.shardloom.kernels.collective.CollectiveException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One rank's media driver, client and subscription, in this process: two threads, which sleep while there is nothing to move. The
 * port is one that the operating system found free. Sessions that do not belong to the group are counted and never read.
 */
final class EmbeddedDriver implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(EmbeddedDriver.class);
    private static final int STREAM = 7301;
    private static final int WANTED_SOCKET_BYTES = 2 << 20;
    private static final int MAX_WINDOW_BYTES = 1 << 20;
    private static final int MAX_EARLY_SESSIONS = 4096;
    private static final long STATUS_INTERVAL_NS = TimeUnit.MILLISECONDS.toNanos(50);

    private final String hostAddress;
    private final AeronOptions options;
    private final DriverDirectory directory;
    private final int windowBytes;
    private MediaDriver driver;
    private Aeron client;
    private Subscription subscription;
    private final List<Integer> early = new ArrayList<>();
    private Set<Integer> members;
    private long strangers;

    private EmbeddedDriver(String hostAddress, AeronOptions options, int peers) {
        this.hostAddress = hostAddress;
        this.options = options;
        int socketBytes = grantedSocketBytes();
        // All peers may send at once into one socket buffer, and the system counts more than the payload against it.
        int fair = Math.min(socketBytes / 2 / Math.max(1, peers), Math.min(MAX_WINDOW_BYTES, options.termBytes() / 2));
        this.windowBytes = Math.max(fair & -1024, 2 * options.mtuBytes());
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
                .threadingMode(ThreadingMode.SHARED)
                .sharedThreadFactory(daemons)
                .sharedIdleStrategy(new BackoffIdleStrategy(20, 20, 1_000, 1_000_000))
                .termBufferSparseFile(true)
                .publicationTermBufferLength(options.termBytes())
                .mtuLength(options.mtuBytes())
                .socketRcvbufLength(socketBytes)
                .socketSndbufLength(socketBytes)
                .initialWindowLength(windowBytes)
                .statusMessageTimeoutNs(STATUS_INTERVAL_NS)
                .imageLivenessTimeoutNs(liveness.toNanos())
                .errorHandler(e -> LOG.warn("Aeron's driver: {}", e.toString())));
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

    int port() {
        String endpoint = subscription.resolvedEndpoint();
        return Integer.parseInt(endpoint.substring(endpoint.lastIndexOf(':') + 1));
    }

    /** Opens the stream to a peer; does not wait for it. */
    ExclusivePublication publish(String host, int port, int session) {
        return client.addExclusivePublication(
                channel(host, port)
                        .sessionId(session)
                        .termLength(options.termBytes())
                        .mtu(options.mtuBytes())
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

    @Override
    public void close() {
        CloseHelper.quietCloseAll(client, driver, directory);
    }
}
