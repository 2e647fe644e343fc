package org.shardloom.coordinator.run;

import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.shardloom.protocol.message.Member;

/**
 * The workers of a run: who is on the way, who has registered, and how far each has come. A <em>newcomer</em> has not been in any
 * generation; a <em>proven</em> worker took part in a step that no generation had done before.
 */
final class Roster {
    private final Map<Integer, WorkerInfo> workers = new TreeMap<>();
    private final Set<Integer> launching = new TreeSet<>();
    private final Set<Integer> tried = new HashSet<>();
    private final Set<Integer> proven = new HashSet<>();
    private int nextId;

    /** A number that no worker has had. */
    int newId() {
        return nextId++;
    }

    /** Notes that a process is started; its number. */
    int launch() {
        int id = newId();
        launching.add(id);
        return id;
    }

    void register(WorkerInfo worker) {
        launching.remove(worker.id());
        workers.put(worker.id(), worker.withRank(-1));
        nextId = Math.max(nextId, worker.id() + 1);
    }

    /** Forgets a worker; false when it was not known, or was forgotten before. */
    boolean remove(int id) {
        boolean wasLaunching = launching.remove(id);
        return workers.remove(id) != null || wasLaunching;
    }

    boolean has(int id) {
        return workers.containsKey(id);
    }

    /** Registered workers, in order. */
    List<Integer> ids() {
        return List.copyOf(workers.keySet());
    }

    /** Workers whose processes were started and that have not registered. */
    List<Integer> launching() {
        return List.copyOf(launching);
    }

    /** Number of registered workers. */
    int size() {
        return workers.size();
    }

    /** Number of workers, those on the way included. */
    int expected() {
        return workers.size() + launching.size();
    }

    boolean newcomer(int id) {
        return !tried.contains(id);
    }

    boolean proven(int id) {
        return proven.contains(id);
    }

    boolean anyProven() {
        return !proven.isEmpty();
    }

    void prove(Collection<Integer> ids) {
        proven.addAll(ids);
    }

    /** Gives the workers their ranks: the index in the list, or -1. */
    void rank(List<Integer> ranks) {
        workers.replaceAll((id, worker) -> worker.withRank(ranks.indexOf(id)));
    }

    /** The members of a generation, ordered by worker; they are no newcomers any more. */
    List<Member> members(Collection<Integer> involved, List<Integer> oldRanks, List<Integer> newRanks) {
        tried.addAll(involved);
        return involved.stream()
                .sorted()
                .map(workers::get)
                .map(w -> new Member(w.id(), w.host(), w.hostKey(), oldRanks.indexOf(w.id()), newRanks.indexOf(w.id())))
                .toList();
    }

    /** What people are told of the workers: by rank, those without one at the end. */
    List<WorkerInfo> infos() {
        return workers.values().stream()
                .sorted(Comparator.comparingInt((WorkerInfo w) -> w.rank() < 0 ? Integer.MAX_VALUE : w.rank())
                        .thenComparingInt(WorkerInfo::id))
                .toList();
    }
}
