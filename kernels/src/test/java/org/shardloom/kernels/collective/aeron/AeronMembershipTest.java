package org.shardloom.kernels.collective.aeron;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.aeron.ExclusivePublication;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Stream;
import org.agrona.concurrent.UnsafeBuffer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.collective.Meeting;
import org.shardloom.kernels.collective.Ranks;
import org.shardloom.kernels.collective.Rendezvous;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

@Timeout(60)
class AeronMembershipTest {
    private static final byte[] SECRET = AeronCollectivesTest.SECRET;
    private static final Duration LIMIT = Duration.ofSeconds(10);

    @TempDir
    private Path directory;

    private AeronCollectives join(Rendezvous rendezvous, int rank, byte[] secret, Duration limit) {
        return AeronCollectives.join(
                rendezvous,
                rank,
                2,
                "127.0.0.1",
                secret,
                limit,
                new AeronOptions(1408, 8192, 64 << 10, directory),
                new AbortSignal());
    }

    @Test
    void whoDoesNotHoldTheSecretDoesNotGetIn() throws Exception {
        Meeting meeting = new Meeting(2, LIMIT);
        byte[] wrong = SECRET.clone();
        wrong[3]++;
        Ranks.run(2, rank -> {
            CollectiveException e = assertThrows(
                    CollectiveException.class,
                    () -> join(meeting.of(rank), rank, rank == 0 ? SECRET : wrong, Duration.ofSeconds(2)));
            assertTrue(e.getMessage().contains("rank " + (1 - rank)), e.getMessage());
            assertTrue(e.getMessage().contains("secret"), e.getMessage());
            return null;
        });
        assertNothingLeft();
    }

    @Test
    void aSecretMustBeLongEnough() {
        Meeting meeting = new Meeting(2, LIMIT);
        assertThrows(IllegalArgumentException.class, () -> join(meeting.of(0), 0, new byte[15], LIMIT));
    }

    @Test
    void strangersAreCountedAndChangeNothing() throws Exception {
        Meeting meeting = new Meeting(2, LIMIT);
        AtomicReference<Offer> target = new AtomicReference<>();
        Ranks.run(2, rank -> {
            Rendezvous spied = (key, offer) -> {
                List<byte[]> offers = meeting.of(rank).exchange(key, offer);
                target.set(Offer.decode(offers.get(0), 0));
                return offers;
            };
            try (AeronCollectives group = join(spied, rank, SECRET, LIMIT)) {
                if (rank == 1) {
                    intrude(target.get());
                }
                assertEquals(3.0, group.sum(1.0 + rank)[0]);
                if (rank == 0) {
                    for (int i = 0; i < 100 && group.strangers() == 0; i++) {
                        Thread.sleep(20);
                    }
                    assertEquals(1, group.strangers());
                }
                assertEquals(3.0, group.sum(1.0 + rank)[0]);
            }
            return null;
        });
    }

    /** Sends what might pass for frames to the rank that made the offer. */
    private void intrude(Offer offer) throws Exception {
        try (EmbeddedDriver stranger =
                        EmbeddedDriver.start("127.0.0.1", new AeronOptions(1408, 8192, 64 << 10, directory), 1, LIMIT);
                ExclusivePublication publication = stranger.publish(offer.host(), offer.port(), 12345, 1408)) {
            UnsafeBuffer frame = new UnsafeBuffer(new byte[200]);
            Frame.write(frame, 0, Frame.DATA, 1, 0);
            for (int i = 0; i < 200 && publication.offer(frame) < 0; i++) {
                Thread.sleep(10);
            }
            Thread.sleep(100);
        }
    }

    @Test
    void ranksOutOfStepFailRatherThanMixTheirData() {
        Meeting meeting = new Meeting(2, LIMIT);
        List<String> messages = Ranks.run(2, rank -> {
            try (AeronCollectives group = join(meeting.of(rank), rank, SECRET, LIMIT)) {
                Tensor tensor = group.allocateShared(DType.F32, 64);
                CollectiveException e = assertThrows(CollectiveException.class, () -> (rank == 0
                                ? group.allGather(tensor, tensor.slice(0, 32))
                                : group.reduceScatter(tensor.slice(0, 32), tensor, DType.F32, false))
                        .await());
                return e.getMessage();
            }
        });
        assertTrue(messages.stream().anyMatch(m -> m.contains("out of step")), messages.toString());
    }

    @Test
    void sizesThatDisagreeFail() {
        Meeting meeting = new Meeting(2, LIMIT);
        List<String> messages = Ranks.run(2, rank -> {
            try (AeronCollectives group = join(meeting.of(rank), rank, SECRET, LIMIT)) {
                Tensor tensor = group.allocateShared(DType.F32, 64);
                return assertThrows(CollectiveException.class, () -> group.allGather(tensor, tensor.slice(0, 16 + rank))
                                .await())
                        .getMessage();
            }
        });
        assertTrue(messages.stream().anyMatch(m -> m.contains("bytes where")), messages.toString());
    }

    @Test
    void whatCrashedProcessesLeftIsDeletedAndWhatIsInUseIsNot() throws Exception {
        long dead = new ProcessBuilder("true").start().pid();
        while (ProcessHandle.of(dead).isPresent()) {
            Thread.sleep(10);
        }
        Path stale = Files.createDirectories(directory.resolve("shardloom-aeron-" + dead + "-17/driver"));
        Files.writeString(stale.resolve("cnc.dat"), "");
        Files.writeString(stale.resolveSibling("owned"), ""); // not locked: its process is gone
        Path young = Files.createDirectory(directory.resolve("shardloom-aeron-" + dead + "-19"));
        Path live = Files.createDirectory(
                directory.resolve("shardloom-aeron-" + ProcessHandle.current().pid() + "-18"));
        Path other = Files.createDirectory(directory.resolve("shardloom-aeron-mine"));
        DriverDirectory.sweep(directory);
        assertFalse(Files.exists(stale.getParent()));
        assertTrue(Files.exists(live));
        assertTrue(Files.exists(young), "its process may be about to lock it");
        assertTrue(Files.exists(other));
    }

    @Test
    void filesAreThisUsersAloneAndGoWithTheGroup() throws Exception {
        Meeting meeting = new Meeting(2, LIMIT);
        Ranks.run(2, rank -> {
            try (AeronCollectives group = join(meeting.of(rank), rank, SECRET, LIMIT)) {
                try (Stream<Path> entries = Files.list(directory)) {
                    for (Path entry : entries.toList()) {
                        assertEquals(3, Files.getPosixFilePermissions(entry).size());
                    }
                }
                group.barrier().await();
            }
            return null;
        });
        assertNothingLeft();
    }

    private void assertNothingLeft() throws Exception {
        try (Stream<Path> entries = Files.list(directory)) {
            assertEquals(List.of(), entries.toList());
        }
    }
}
