package org.shardloom.coordinator.run;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.shardloom.protocol.message.CoordinatorMessage.RendezvousOffer;

/** Collects the offers of ranks that meet, and knows when all have come. Used by one actor. */
final class RendezvousBoard {
    private final Map<String, Meeting> meetings = new HashMap<>();

    /**
     * What to send, and to whom.
     *
     * @param offers by rank
     */
    record Result(Set<Integer> workers, List<byte[]> offers) {}

    /** Takes an offer; the result once it was the last of its meeting. Offers that make no sense are ignored. */
    Optional<Result> offer(RendezvousOffer offer) {
        if (offer.rank() < 0 || offer.rank() >= offer.size() || offer.offer() == null) {
            return Optional.empty();
        }
        Meeting meeting = meetings.computeIfAbsent(offer.key(), key -> new Meeting(offer.size()));
        if (meeting.offers.length != offer.size()) {
            return Optional.empty();
        }
        meeting.offers[offer.rank()] = offer.offer();
        meeting.workers.add(offer.workerId());
        if (Arrays.stream(meeting.offers).anyMatch(o -> o == null)) {
            return Optional.empty();
        }
        meetings.remove(offer.key());
        return Optional.of(new Result(meeting.workers, List.of(meeting.offers)));
    }

    /** Forgets unfinished meetings: a new generation has begun. */
    void clear() {
        meetings.clear();
    }

    private static final class Meeting {
        private final byte[][] offers;
        private final Set<Integer> workers = new TreeSet<>();

        Meeting(int size) {
            offers = new byte[size][];
        }
    }
}
