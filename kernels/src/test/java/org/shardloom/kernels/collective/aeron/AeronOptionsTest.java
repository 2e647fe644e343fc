package org.shardloom.kernels.collective.aeron;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.AbortSignal;
import org.shardloom.kernels.collective.Meeting;
import org.shardloom.kernels.collective.Pattern;
import org.shardloom.kernels.collective.Ranks;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

@Timeout(60)
class AeronOptionsTest {
    private static final int TERM = 1 << 20;

    @TempDir
    private Path directory;

    @ParameterizedTest
    @CsvSource({
        "mtuBytes, 1000, 8192, 1048576",
        "mtuBytes, 1409, 8192, 1048576",
        "mtuBytes, 65536, 8192, 1048576",
        "localMtuBytes, 1408, 16384, 65536",
        "termBytes, 1408, 1408, 32768",
        "termBytes, 1408, 8192, 100000"
    })
    void whatAeronWouldRefuseIsRefusedByName(String name, int mtu, int localMtu, int term) {
        String message = assertThrows(
                        IllegalArgumentException.class, () -> new AeronOptions(mtu, localMtu, term, directory))
                .getMessage();
        assertTrue(message.startsWith(name + ": want"), message);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 8, 9, 31, 127})
    void defaultsAreLargePacketsOnLoopbackAndModestMemory(int peers) {
        AeronOptions options = AeronOptions.defaults("127.0.0.1", peers);
        assertEquals(options.localMtuBytes(), options.mtuBytes());
        assertEquals(Math.min(65440, options.termBytes() / 8), options.mtuBytes());
        assertTrue(6L * peers * options.termBytes() <= 48 << 20, options.toString());
    }

    @Test
    void theSmallerPacketsOfTheTwoEndsAreUsed() {
        Offer here = new Offer("10.0.0.1", 1, 8896, 65440);
        assertEquals(1408, here.mtuWith(new Offer("10.0.0.2", 1, 1408, 65440)));
        assertEquals(32768, new Offer("10.0.0.1", 2, 1408, 32768).mtuWith(here));
    }

    /** Two addresses of loopback pass for two hosts. */
    @Test
    void ranksWithOtherOptionsAndOnOtherHostsUnderstandEachOther() {
        List<String> hosts = List.of("127.0.0.1", "127.0.0.1", "127.0.0.2");
        List<AeronOptions> options = List.of(
                new AeronOptions(1408, 65440, TERM, directory),
                new AeronOptions(8192, 65440, 4 * TERM, directory),
                new AeronOptions(4096, 8192, 64 << 10, directory));
        int n = 600_011;
        Meeting meeting = new Meeting(3, Duration.ofSeconds(20));
        Ranks.run(3, rank -> {
            try (AeronCollectives group = AeronCollectives.join(
                            meeting.of(rank),
                            rank,
                            3,
                            hosts.get(rank),
                            AeronCollectivesTest.SECRET,
                            Duration.ofSeconds(20),
                            options.get(rank),
                            new AbortSignal());
                    HostBlocks memory = new HostBlocks()) {
                Tensor slice = Pattern.fill(memory.allocate(DType.F32, n), rank, 0);
                Tensor full = memory.allocate(DType.F32, 3L * n);
                group.allGather(full, slice).await();
                Pattern.check("gathered", full, i -> Pattern.value(i / n, i % n, DType.F32));
            }
            return null;
        });
    }

    /** Longer than a peer is given to show that it is alive. */
    @Test
    void aGroupWithNothingToDoStaysTogether() {
        Meeting meeting = new Meeting(2, Duration.ofSeconds(20));
        Ranks.run(2, rank -> {
            try (AeronCollectives group = AeronCollectives.join(
                    meeting.of(rank),
                    rank,
                    2,
                    "127.0.0.1",
                    AeronCollectivesTest.SECRET,
                    Duration.ofMillis(1500),
                    AeronOptions.defaults("127.0.0.1", 1).in(directory),
                    new AbortSignal())) {
                Thread.sleep(3500);
                assertEquals(3.0, group.sum(1.0 + rank)[0]);
            }
            return null;
        });
    }
}
