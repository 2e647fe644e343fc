package org.shardloom.worker.loop;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.device.Device;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.plan.Resharding;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * What one worker gives to others and gets from them when the owners of slices change: master weights and moments, as {@link Resharding}
 * lists them. A unit at a time: no more than that is there twice.
 */
final class Handover {
    private final List<UnitSpec> units;
    private final List<Member> all;
    private final int own;
    private final OptimizerShard before;
    private final OptimizerShard next;
    private final Device device;
    private final ShardPlan oldPlan;
    private final ShardPlan newPlan;
    private final List<Resharding.Transfer> transfers;

    /**
     * The moves of one of the members, whose positions in the list are the ranks of the group that moves.
     *
     * @param own position of this worker
     * @param before its shard until now, or null where it had none; a unit's state is given back when others have it
     * @param next its shard from now on, in which no unit has state yet, or null where it leaves
     * @param device which keeps no page-locked memory back
     */
    Handover(
            List<UnitSpec> units,
            List<Member> all,
            int own,
            OptimizerShard before,
            OptimizerShard next,
            Device device) {
        this.device = device;
        this.units = units;
        this.all = all;
        this.own = own;
        this.before = before;
        this.next = next;
        this.oldPlan = ZeroEngine.planOf(
                units, (int) all.stream().filter(m -> m.oldRank() >= 0).count());
        this.newPlan = ZeroEngine.planOf(
                units, (int) all.stream().filter(m -> m.rank() >= 0).count());
        this.transfers = Resharding.between(oldPlan, newPlan);
    }

    /** Moves everything; every member calls it. Who fails ends the wait of the others. */
    void run(Collectives movers) {
        try {
            move(movers);
        } catch (RuntimeException e) {
            movers.abort("a worker could not hand its state over, or take another's: " + e.getMessage());
            throw e;
        }
    }

    private void move(Collectives movers) {
        for (int u = 0; u < units.size(); u++) {
            if (next != null) {
                next.allocate(u);
            }
            List<Move> outgoing = new ArrayList<>();
            List<Move> incoming = new ArrayList<>();
            for (Resharding.Transfer t : transfers) {
                if (t.unit() == u) {
                    add(t, outgoing, incoming);
                }
            }
            movers.exchange(outgoing, incoming).await();
            if (before != null) {
                before.release(u);
                device.trim();
            }
        }
    }

    private void add(Resharding.Transfer t, List<Move> outgoing, List<Move> incoming) {
        int source = indexOf(all, m -> m.oldRank() == t.sourceRank());
        int target = indexOf(all, m -> m.rank() == t.targetRank());
        for (OptimizerShard.Part part : OptimizerShard.Part.values()) {
            long length = t.interval().length();
            if (source == own) {
                long offset = t.interval().from()
                        - oldPlan.owned(t.unit(), t.sourceRank()).from();
                outgoing.add(new Move(target, before.get(t.unit(), part).slice(offset, length)));
            }
            if (target == own) {
                long offset = t.interval().from()
                        - newPlan.owned(t.unit(), t.targetRank()).from();
                incoming.add(new Move(source, next.get(t.unit(), part).slice(offset, length)));
            }
        }
    }

    private static int indexOf(List<Member> members, Predicate<Member> wanted) {
        for (int i = 0; i < members.size(); i++) {
            if (wanted.test(members.get(i))) {
                return i;
            }
        }
        throw new IllegalArgumentException("no such member among " + members);
    }
}
