package org.shardloom.worker.loop;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;
import org.shardloom.kernels.collective.Collectives.Move;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.plan.Resharding;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * What one worker gives to others and gets from them when the owners of slices change: master weights and moments, as {@link Resharding}
 * lists them.
 */
record Handover(List<Move> outgoing, List<Move> incoming) {
    /**
     * The moves of one of the members, whose positions in the list are the ranks of the group that moves.
     *
     * @param own position of this worker
     * @param before its shard until now, or null where it had none
     * @param next its shard from now on, or null where it leaves
     */
    static Handover of(List<UnitSpec> units, List<Member> all, int own, OptimizerShard before, OptimizerShard next) {
        ShardPlan oldPlan = ZeroEngine.planOf(
                units, (int) all.stream().filter(m -> m.oldRank() >= 0).count());
        ShardPlan newPlan = ZeroEngine.planOf(
                units, (int) all.stream().filter(m -> m.rank() >= 0).count());
        List<Move> outgoing = new ArrayList<>();
        List<Move> incoming = new ArrayList<>();
        for (Resharding.Transfer t : Resharding.between(oldPlan, newPlan)) {
            int source = indexOf(all, m -> m.oldRank() == t.sourceRank());
            int target = indexOf(all, m -> m.rank() == t.targetRank());
            for (OptimizerShard.Part part : OptimizerShard.Part.values()) {
                long length = t.interval().length();
                if (source == own) {
                    long offset = t.interval().from()
                            - oldPlan.owned(t.unit(), t.sourceRank()).from();
                    Tensor tensor = before.get(t.unit(), part).slice(offset, length);
                    outgoing.add(new Move(target, tensor));
                }
                if (target == own) {
                    long offset = t.interval().from()
                            - newPlan.owned(t.unit(), t.targetRank()).from();
                    incoming.add(new Move(source, next.get(t.unit(), part).slice(offset, length)));
                }
            }
        }
        return new Handover(outgoing, incoming);
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
