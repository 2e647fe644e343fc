package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.cuda.CudaDevice;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.PageLockedAllocator;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.protocol.message.Member;
import org.shardloom.protocol.plan.Interval;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.ZeroEngine;

/** State that changes its owners. */
@Timeout(60)
class HandoverTest {
    private static final OptimizerConfig ADAMW =
            new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.9, 0.99, 1e-8, 0.1, List.of());

    private final List<UnitSpec> units = new ArrayList<>();

    HandoverTest() {
        for (int u = 0; u < 6; u++) {
            units.add(new UnitSpec.Builder("unit" + u, u)
                    .add("weight", ParameterSpec.Kind.WEIGHT, 1, "weight" + u, 50_001 + 1000 * u)
                    .build());
        }
    }

    /** Workers as old rank > new rank, - for none: every value is its new owner's, and no more than a unit's was anywhere twice. */
    @ParameterizedTest
    @ValueSource(strings = {"0>0 1>1 ->2", "0>- 1>0", "0>2 1>- 2>0 ->1", "0>0 1>-", "->0 0>-"})
    void everyValueFindsItsNewOwnerAUnitAtATime(String change) throws Exception {
        List<Member> members = new ArrayList<>();
        for (String worker : change.split(" ")) {
            int arrow = worker.indexOf('>');
            members.add(new Member(
                    members.size(), "", "", rank(worker.substring(0, arrow)), rank(worker.substring(arrow + 1))));
        }
        ShardPlan old = ZeroEngine.planOf(
                units, (int) members.stream().filter(m -> m.oldRank() >= 0).count());
        ShardPlan young = ZeroEngine.planOf(
                units, (int) members.stream().filter(m -> m.rank() >= 0).count());
        Ranks.run(members.size(), (own, movers) -> {
            Member self = members.get(own);
            try (CpuDevice device = new CpuDevice(1);
                    OptimizerShard before = shard(old, self.oldRank(), device, false);
                    OptimizerShard next = shard(young, self.rank(), device, true)) {
                for (int u = 0; before != null && u < units.size(); u++) {
                    for (Part part : Part.values()) {
                        FloatBuffer values = values(before.get(u, part));
                        Interval owned = old.owned(u, self.oldRank());
                        for (int i = 0; i < owned.length(); i++) {
                            values.put(i, value(u, part, owned.from() + i));
                        }
                    }
                }
                new Handover(units, members, own, before, next, device).run(movers);
                for (int u = 0; next != null && u < units.size(); u++) {
                    for (Part part : Part.values()) {
                        FloatBuffer values = values(next.get(u, part));
                        Interval owned = young.owned(u, self.rank());
                        for (int i = 0; i < owned.length(); i++) {
                            assertEquals(value(u, part, owned.from() + i), values.get(i), part + " of unit " + u);
                        }
                    }
                }
                long most = Math.max(bytes(before == null ? null : old), bytes(next == null ? null : young))
                        + 12 * young.sliceElements(units.size() - 1);
                long seen = device.statistics().peakBytes();
                assertTrue(seen <= 1.05 * most, seen + " bytes at once, at most " + most + " are needed");
            }
            return null;
        });
    }

    /** Page-locked memory as the driver is asked for it: freed pages do not wait for another use. */
    @Test
    void pagesAreNotLockedTwice() throws Exception {
        SimulatedDriver.start(3, 256L << 20, 5, 0);
        List<Member> members =
                List.of(new Member(0, "", "", 0, 1), new Member(1, "", "", 1, -1), new Member(2, "", "", -1, 0));
        ShardPlan plan = ZeroEngine.planOf(units, 2);
        Ranks.run(3, (own, movers) -> {
            Member self = members.get(own);
            try (CudaDevice device = new CudaDevice(own, SimulatedDriver.images());
                    OptimizerShard before = shard(plan, self.oldRank(), device, false);
                    OptimizerShard next = shard(plan, self.rank(), device, true)) {
                new Handover(units, members, own, before, next, device).run(movers);
                if (SimulatedDriver.simulated()) {
                    long most = bytes(plan) + 12 * plan.sliceElements(units.size() - 1);
                    long rounding = CudaDevice.STAGING_BYTES + 3L * (units.size() + 1) * PageLockedAllocator.PAGE;
                    long seen = SimulatedDriver.pinnedPeakBytes(own);
                    assertTrue(seen <= most + rounding, seen + " bytes at once, at most " + most + " are needed");
                }
            }
            return null;
        });
        assertEquals(List.of(), SimulatedDriver.reports());
    }

    /** Who has no room, for one, holds the others up no longer. */
    @Test
    void whoFailsEndsTheOthersWait() throws Exception {
        List<Member> members = List.of(new Member(0, "", "", 0, 0), new Member(1, "", "", -1, 1));
        String[] said = new String[2];
        Ranks.run(2, (own, movers) -> {
            Member self = members.get(own);
            try (CpuDevice device = new CpuDevice(1);
                    OptimizerShard before = shard(ZeroEngine.planOf(units, 1), self.oldRank(), device, false);
                    OptimizerShard next = shard(ZeroEngine.planOf(units, 2), self.rank(), device, own == 0)) {
                Handover handover = new Handover(units, members, own, before, next, device);
                said[own] = assertThrows(RuntimeException.class, () -> handover.run(movers))
                        .getMessage();
            }
            return null;
        });
        assertEquals("unit 0 has state", said[1]);
        assertTrue(said[0].contains("aborted"), said[0]);
    }

    private static int rank(String text) {
        return text.equals("-") ? -1 : Integer.parseInt(text);
    }

    private OptimizerShard shard(ShardPlan plan, int rank, Device device, boolean comes) {
        return rank < 0 ? null : new OptimizerShard(plan, rank, units, ADAMW, OptimizerShard.Home.host(device), comes);
    }

    private long bytes(ShardPlan plan) {
        long bytes = 0;
        for (int u = 0; plan != null && u < units.size(); u++) {
            bytes += 12 * plan.sliceElements(u);
        }
        return bytes;
    }

    private static float value(int unit, Part part, long at) {
        return unit + 10 * part.ordinal() + at * 0x1p-18f;
    }

    private static FloatBuffer values(Tensor tensor) {
        return HostBytes.view(tensor.address(), tensor.bytes()).asFloatBuffer();
    }
}
