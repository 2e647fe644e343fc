package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.cuda.SimulatedDriver;
import org.shardloom.kernels.cuda.SimulatedDriver.Lane;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.SpikeConfig.Action;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.zero.TinyTrainer.Sharding;

/** Units that are updated as their gradients come: no other numbers, and nothing that a later fault leaves half-done unsaid. */
@Timeout(300)
class EarlyUpdateTest {
    private static final long PATIENCE_NANOS = 20_000_000_000L;

    /** With every delay, what comes of units that are updated early is what comes of them at the end. */
    @ParameterizedTest
    @CsvSource({
        "1,SPLIT_ZERO_2,TO_DEVICE",
        "2,SPLIT_ZERO_2,TO_HOST",
        "2,SPLIT_ZERO_3,TO_DEVICE",
        "2,SPLIT_ZERO_3_OFFLOADED,TO_HOST",
        "4,SPLIT_ZERO_3,TO_HOST" // one micro-batch a rank: the last gradients stay on the device
    })
    void numbersAreThoseOfAnUpdateAtTheEnd(int world, Sharding sharding, Lane slow) throws Exception {
        Object[] early = state(world, sharding, Action.IGNORE, slow, 2000);
        assertTrue(Arrays.deepEquals(early, state(world, sharding, Action.PAUSE, slow, 0)));
    }

    private static Object[] state(int world, Sharding sharding, Action action, Lane slow, int micros) throws Exception {
        return CudaRanks.run(world, 5, micros == 0 ? 50 : 0, (device, group) -> {
                    if (micros > 0) {
                        SimulatedDriver.slow(slow, micros);
                    }
                    try (TinyTrainer trainer = TinyTrainer.unclipped(group, sharding, action, device)) {
                        trainer.accumulated(1);
                        trainer.accumulated(2);
                        return trainer.state();
                    }
                })
                .toArray();
    }

    /** What is done at each reduce-scatter of a step's last round before it begins, by trained unit. */
    private static Collectives reducing(Collectives group, int[] count, Consumer<Tensor> last) {
        return (Collectives) Proxy.newProxyInstance(
                Collectives.class.getClassLoader(), new Class<?>[] {Collectives.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("reduceScatter")) {
                        if (arguments.length == 5) {
                            ((Device.Transfer) arguments[4]).await();
                        }
                        if (++count[0] == count[1]) {
                            last.accept((Tensor) arguments[1]);
                        }
                        return group.reduceScatter(
                                (Tensor) arguments[0], (Tensor) arguments[1], (DType) arguments[2], (boolean)
                                        arguments[3]);
                    }
                    try {
                        return method.invoke(group, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }

    /** One of the last rank's gradients is not a number: that of the {@code count[1]}th reduce-scatter. */
    private static Collectives poisoned(Collectives group, int[] count) {
        return reducing(SeparateMemories.over(group), count, gradient -> {
            if (group.rank() == group.size() - 1) {
                NativeCpu.fill(gradient.address(), 0xFF, gradient.bytes()); // NaN
            }
        });
    }

    /** The embedding's gradient, the last of a step, is not given before the head is updated. */
    @Test
    void theHeadIsUpdatedBeforeTheEmbeddingsGradientIsReduced() throws Exception {
        Ranks.run(2, (rank, group) -> {
            TinyTrainer[] own = new TinyTrainer[1];
            float[][] before = new float[1][];
            int[] count = new int[2];
            Collectives watched = reducing(SeparateMemories.over(group), count, gradient -> {
                long end = System.nanoTime() + PATIENCE_NANOS;
                while (Arrays.equals(before[0], head(own[0])) && System.nanoTime() < end) {
                    Thread.onSpinWait();
                }
                assertFalse(Arrays.equals(before[0], head(own[0])), "the head waits for the embedding");
            });
            try (Device device = new SplitDevice();
                    TinyTrainer trainer =
                            TinyTrainer.unclipped(watched, Sharding.SPLIT_ZERO_3, Action.IGNORE, device)) {
                own[0] = trainer;
                before[0] = head(trainer);
                count[1] = 2 * trainer.engine.units().size();
                trainer.accumulated(1);
                assertEquals(count[1], count[0]);
            }
            return null;
        });
    }

    /** Who updates takes as many processors as the rank was given. */
    @Test
    void theUpdateUsesTheRanksProcessors() throws Exception {
        int before = NativeCpu.threads();
        NativeCpu.useThreads(3);
        try (SplitDevice device = new SplitDevice();
                Memory host = device.hostMemory(Purpose.GRADIENTS);
                Memory memory = device.memory(Purpose.GRADIENTS)) {
            NativeCpu.useThreads(3);
            Tensor sum = host.allocate(DType.F32, 1);
            int[] found = new int[1];
            try (GradientArrivals arrivals = new GradientArrivals(device, host, new Tensor[] {sum})) {
                arrivals.observe((unit, squares, ready) -> found[0] = NativeCpu.threads());
                arrivals.beginRound(true, true);
                arrivals.take(0, memory.allocate(DType.F32, 1), device.issued());
                arrivals.await(0);
                arrivals.awaitObserver(0);
            }
            assertEquals(3, found[0]);
        } finally {
            NativeCpu.useThreads(before);
        }
    }

    /** A step that was given up updates nothing more: nobody waits for all that has come. */
    @Test
    void whoClosesWaitsForOneUnitOnly() throws Exception {
        int units = 5;
        try (SplitDevice device = new SplitDevice();
                Memory host = device.hostMemory(Purpose.GRADIENTS);
                Memory memory = device.memory(Purpose.GRADIENTS)) {
            Tensor[] sums = new Tensor[units];
            Arrays.setAll(sums, u -> host.allocate(DType.F32, 1));
            List<Integer> told = new CopyOnWriteArrayList<>();
            CountDownLatch begun = new CountDownLatch(1);
            CountDownLatch goOn = new CountDownLatch(1);
            GradientArrivals arrivals = new GradientArrivals(device, host, sums);
            arrivals.observe((unit, squares, ready) -> {
                told.add(unit);
                begun.countDown();
                try {
                    goOn.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            arrivals.beginRound(true, true);
            for (int u = 0; u < units; u++) {
                arrivals.take(u, memory.allocate(DType.F32, 1), device.issued());
            }
            for (int u = 0; u < units; u++) {
                arrivals.await(u);
            }
            begun.await();
            Thread closing = new Thread(arrivals::close);
            closing.start();
            while (closing.isAlive() && closing.getState() != Thread.State.TIMED_WAITING) {
                Thread.onSpinWait();
            }
            goOn.countDown();
            closing.join();
            assertEquals(List.of(0), told);
        }
    }

    /** A step is over when the last unit is updated, however long that takes. */
    @Test
    void aStepWaitsForItsLastUpdate() throws Exception {
        Ranks.run(1, (rank, group) -> {
            AtomicInteger updates = new AtomicInteger();
            Consumer<String> slow = operation -> {
                if (operation.equals("adamw")) {
                    LockSupport.parkNanos(20_000_000);
                    updates.incrementAndGet();
                }
            };
            try (Device device = new SplitDevice(slow);
                    TinyTrainer trainer = TinyTrainer.unclipped(
                            SeparateMemories.over(group), Sharding.SPLIT_ZERO_2, Action.IGNORE, device)) {
                trainer.accumulated(1);
                int done = updates.get();
                LockSupport.parkNanos(200_000_000);
                assertEquals(done, updates.get());
                assertTrue(done >= trainer.engine.units().size());
            }
            return null;
        });
    }

    /** What is waited for is the optimizer's time, not the network's. */
    @Test
    void theUpdateCountsAsTheOptimizers() throws Exception {
        Ranks.run(1, (rank, group) -> {
            try (Device device = new SplitDevice();
                    TinyTrainer trainer = TinyTrainer.unclipped(
                            SeparateMemories.over(group), Sharding.SPLIT_ZERO_2, Action.IGNORE, device)) {
                List<String> phases = new ArrayList<>();
                trainer.engine.observePhases(phases::add);
                trainer.accumulated(1);
                assertEquals(
                        List.of("communication", "optimizer", "communication", "optimizer", "communication"),
                        phases.subList(phases.size() - 6, phases.size() - 1));
            }
            return null;
        });
    }

    /** Of the units whose gradients stay on the device, none is updated behind one that is not finite. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1})
    void unitsThatStayAreUpdatedUpToTheFirstFault(int unit) throws Exception {
        Ranks.run(2, (rank, group) -> {
            int[] count = new int[2];
            Collectives poisoned = poisoned(group, count);
            try (Device device = new SplitDevice();
                    TinyTrainer trainer =
                            TinyTrainer.singleRound(poisoned, DType.F32, Sharding.SPLIT_ZERO_2, 0, device)) {
                float[][][] before = trainer.state();
                assertTrue(trainer.engine.gradientStays(unit));
                count[1] = before.length - unit; // head first, embedding last
                assertThrows(TornStepException.class, () -> trainer.plain(1, 2));
                float[][][] after = trainer.state();
                for (int u = 0; u < before.length; u++) {
                    assertEquals(u > unit, !Arrays.deepEquals(before[u], after[u]), "unit " + u + " is updated");
                }
            }
            return null;
        });
    }

    private static float[] head(TinyTrainer trainer) {
        return trainer.state(trainer.engine.units().size() - 1, Part.MASTER);
    }

    /** The same fault where units have been updated, and where none has: only then is the state still that before the step. */
    @ParameterizedTest
    @CsvSource({"SPLIT_ZERO_2,false", "SPLIT_ZERO_3_OFFLOADED,false", "SPLIT_ZERO_3,true"})
    void aGradientThatIsNotFiniteEndsTheStepOnEveryRank(Sharding sharding, boolean first) throws Exception {
        Ranks.run(2, (rank, group) -> {
            int[] count = new int[2];
            Collectives poisoned = poisoned(group, count);
            try (Device device = new SplitDevice();
                    TinyTrainer trainer = TinyTrainer.unclipped(poisoned, sharding, Action.IGNORE, device)) {
                trainer.accumulated(1);
                float[][][] before = trainer.state();
                int units = trainer.engine.units().size();
                count[0] = 0;
                count[1] = units * (first ? 1 : 2) + (first ? 1 : 0);
                if (first) {
                    String message = assertThrows(NonFiniteException.class, () -> trainer.accumulated(2))
                            .getMessage();
                    assertTrue(
                            message.contains("gradient of unit head is not finite; the update was not applied"),
                            message);
                    assertTrue(Arrays.deepEquals(before, trainer.state()));
                    assertEquals(1, trainer.engine.optimizer().updates());
                } else {
                    String message = assertThrows(TornStepException.class, () -> trainer.accumulated(2))
                            .getMessage();
                    assertTrue(
                            message.contains("gradient of unit embedding is not finite")
                                    && message.contains("resume from the last, or start anew")
                                    && message.contains("spike.action: pause"),
                            message);
                    assertNotEquals(before[units - 1][0][0], head(trainer)[0]);
                    assertTrue(
                            Arrays.deepEquals(before[0], trainer.state()[0]), "what is not finite is applied nowhere");
                }
            }
            return null;
        });
    }
}
