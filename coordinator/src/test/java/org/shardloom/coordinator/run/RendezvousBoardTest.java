package org.shardloom.coordinator.run;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.shardloom.protocol.message.CoordinatorMessage.RendezvousOffer;

@Timeout(10)
class RendezvousBoardTest {
    private final RendezvousBoard board = new RendezvousBoard();

    private static RendezvousOffer offer(int worker, String key, int rank, int size) {
        return new RendezvousOffer(1, worker, key, rank, size, new byte[] {(byte) rank});
    }

    @Test
    void theLastOfferBringsAllOffersByRank() {
        assertTrue(board.offer(offer(7, "a", 2, 3)).isEmpty());
        assertTrue(board.offer(offer(5, "a", 0, 3)).isEmpty());
        RendezvousBoard.Result result = board.offer(offer(9, "a", 1, 3)).orElseThrow();
        assertEquals(Set.of(5, 7, 9), result.workers());
        for (int rank = 0; rank < 3; rank++) {
            assertArrayEquals(new byte[] {(byte) rank}, result.offers().get(rank));
        }
    }

    @Test
    void meetingsOfDifferentKeysDoNotMixAndAKeyCanBeUsedAgain() {
        assertTrue(board.offer(offer(0, "a", 0, 2)).isEmpty());
        assertTrue(board.offer(offer(1, "b", 1, 2)).isEmpty());
        assertTrue(board.offer(offer(1, "a", 1, 2)).isPresent());
        assertTrue(board.offer(offer(0, "a", 0, 2)).isEmpty());
        assertTrue(board.offer(offer(0, "b", 0, 2)).isPresent());
    }

    @Test
    void unfinishedMeetingsAreForgottenWithTheirGeneration() {
        assertTrue(board.offer(offer(0, "a", 0, 2)).isEmpty());
        board.clear();
        assertTrue(board.offer(offer(1, "a", 1, 2)).isEmpty());
    }

    @Test
    void offersThatMakeNoSenseAreIgnored() {
        assertTrue(board.offer(offer(0, "a", 2, 2)).isEmpty());
        assertTrue(board.offer(offer(0, "a", -1, 2)).isEmpty());
        assertTrue(board.offer(offer(0, "a", 0, -5)).isEmpty());
        assertTrue(board.offer(offer(0, "a", 0, 0)).isEmpty());
        assertTrue(board.offer(new RendezvousOffer(1, 0, "a", 0, 1, null)).isEmpty());
        assertTrue(board.offer(offer(0, "a", 0, 2)).isEmpty());
        assertTrue(board.offer(offer(1, "a", 1, 3)).isEmpty(), "of another size");
        assertTrue(board.offer(offer(1, "a", 1, 2)).isPresent());
    }
}
