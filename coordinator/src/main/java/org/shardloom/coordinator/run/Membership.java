package org.shardloom.coordinator.run;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.message.WorkerMessage.AbortGeneration;
import org.shardloom.protocol.message.WorkerMessage.Leave;
import org.shardloom.protocol.message.WorkerMessage.Origin;
import org.shardloom.protocol.message.WorkerMessage.StartGeneration;

/** Who of the {@link Roster} takes part in the current generation, and the change from one generation to the next. */
final class Membership {
    private final Roster roster;
    private final Consumer<Effect> effects;
    private long generation;
    private List<Integer> ranks = List.of();
    private List<Integer> leaving = List.of();

    Membership(Roster roster, Consumer<Effect> effects) {
        this.roster = roster;
        this.effects = effects;
    }

    long generation() {
        return generation;
    }

    /** Workers of the generation, by rank; empty between generations. */
    List<Integer> ranks() {
        return ranks;
    }

    int size() {
        return ranks.size();
    }

    int first() {
        return ranks.get(0);
    }

    /** Members of the generation before that hand their state over to this one. */
    List<Integer> leaving() {
        return leaving;
    }

    boolean contains(int id) {
        return ranks.contains(id) || leaving.contains(id);
    }

    /** Workers that the run has or will have, without those that leave. */
    int expected() {
        return roster.expected() - leaving.size();
    }

    /** Starts as many processes as are missing. */
    void launchMissing(int wanted) {
        while (expected() < wanted) {
            effects.accept(new Effect.Launch(roster.launch()));
        }
    }

    /** Sends those away that neither take part nor are waited for. */
    void dismissSurplus(int wanted) {
        List<Integer> idle = select(roster.ids(), id -> !contains(id));
        dismiss(
                idle.subList(Math.min(idle.size(), Math.max(0, wanted - ranks.size())), idle.size()),
                "the run needs no more than " + wanted + " workers");
    }

    /** Everything has been handed over. */
    void dismissLeaving() {
        dismiss(leaving, "the run goes on with " + ranks.size() + " workers");
        leaving = List.of();
    }

    private void dismiss(List<Integer> ids, String why) {
        for (int id : ids) {
            effects.accept(new Effect.Tell(id, new Leave(why)));
            roster.remove(id);
        }
    }

    /** A generation of the first registered workers, which load a checkpoint or begin anew. */
    void assemble(int wanted, String checkpoint, TrainingState state) {
        List<Integer> next = List.copyOf(roster.ids().subList(0, wanted));
        begin(checkpoint == null ? Origin.START : Origin.CHECKPOINT, next, List.of(), checkpoint, state);
        dismissSurplus(wanted);
    }

    /** State moves: old members keep their order; the last ones leave, new ones come after. */
    void resize(int wanted, String checkpoint, TrainingState state) {
        List<Integer> before = ranks;
        Set<Integer> next = new LinkedHashSet<>(before.subList(0, Math.min(wanted, before.size())));
        select(roster.ids(), id -> !before.contains(id)).stream()
                .limit(wanted - next.size())
                .forEach(next::add);
        leaving = select(before, id -> !next.contains(id));
        begin(Origin.RESHARD, List.copyOf(next), before, checkpoint, state);
    }

    private void begin(
            Origin origin, List<Integer> newRanks, List<Integer> oldRanks, String checkpoint, TrainingState state) {
        generation++;
        ranks = newRanks;
        roster.rank(newRanks);
        Set<Integer> involved = new LinkedHashSet<>(oldRanks);
        involved.addAll(newRanks);
        List<Member> members = roster.members(involved, oldRanks, newRanks);
        for (Member member : members) {
            effects.accept(new Effect.Tell(
                    member.workerId(), new StartGeneration(generation, origin, members, checkpoint, state)));
        }
    }

    /** A member that the others can do without has gone. */
    void forget(int id) {
        ranks = select(ranks, other -> other != id);
        leaving = select(leaving, other -> other != id);
        roster.rank(ranks);
    }

    /** Tells the members that are left to give the generation up. */
    void abort(String reason) {
        for (int id : select(roster.ids(), this::contains)) {
            effects.accept(new Effect.Tell(id, new AbortGeneration(generation, reason)));
        }
    }

    /** Nobody takes part any more; what the generation's members still say is stale. */
    void dissolve() {
        generation++;
        ranks = List.of();
        leaving = List.of();
        roster.rank(ranks);
    }

    private static List<Integer> select(List<Integer> list, Predicate<Integer> which) {
        return list.stream().filter(which).toList();
    }
}
