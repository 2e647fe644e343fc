package org.shardloom.worker.zero;

import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Brings reduced gradients to the host and sums them there over the micro-batches of a step, on a thread of its own: the engine's thread goes
 * on issuing what the device computes meanwhile. In a step's last round it also sums their squares, so that the norm is known as soon as the
 * last gradient has come. What an observer does with a complete sum holds up no gradient: it has a thread of its own, too.
 */
final class GradientArrivals implements AutoCloseable {
    /** Is told of each unit whose sum is complete, one after the other. */
    @FunctionalInterface
    interface Observer {
        /**
         * In a step's last round, on the observer's thread.
         *
         * @param squares sum of the squares of the unit's sum
         * @param ready when the gradient was complete on the device, which is over
         */
        void arrived(int unit, double squares, Pending ready);
    }

    /** Elements that come at a time where they are added, into two places by turns: 8 MB. */
    private static final long PIECE = 1 << 20;

    private final Device device;
    private final Memory memory;
    private final Tensor[] sums;
    private final double[] squares;
    private final Future<?>[] arriving;
    private final ExecutorService thread;
    private final ExecutorService observing;
    private final Future<?>[] observed;
    private Observer observer;
    private Tensor[] places;
    private boolean adds;
    private boolean counts;
    private volatile boolean closing;

    /**
     * Nothing is under way. Each of the two threads uses as many processors as the calling one; seldom both at once.
     *
     * @param memory the host's
     * @param sums fp32, in the host's memory, by unit; null for units that nothing comes of
     */
    GradientArrivals(Device device, Memory memory, Tensor[] sums) {
        this.device = device;
        this.memory = memory;
        this.sums = sums;
        this.squares = new double[sums.length];
        this.arriving = new Future<?>[sums.length];
        int processors = NativeCpu.threads();
        this.thread = newThread("gradient-arrivals", processors);
        this.observing = newThread("gradient-observer", processors);
        this.observed = new Future<?>[sums.length];
    }

    /** One that is begun when there is something to do. */
    private static ExecutorService newThread(String name, int processors) {
        return Executors.newSingleThreadExecutor(task -> {
            Thread own = new Thread(
                    () -> {
                        NativeCpu.useThreads(processors); // OpenMP asks each thread
                        task.run();
                    },
                    name);
            own.setDaemon(true);
            return own;
        });
    }

    /** From the next step on. */
    void observe(Observer told) {
        observer = told;
    }

    /** What comes from now on: the first round's gradients overwrite the sums, the last's complete them. */
    void beginRound(boolean first, boolean last) {
        adds = !first;
        counts = last;
        if (adds && places == null) {
            places = new Tensor[] {memory.allocate(DType.F32, PIECE), memory.allocate(DType.F32, PIECE)};
        }
    }

    /**
     * Has the unit's gradient come.
     *
     * @param gradient fp32 on the device; to be left as it is until {@link #await}, or null: nothing comes
     * @param ready when it is complete
     * @return the whole copy, after which the gradient may be written; null where it comes in pieces, which only {@link #await} tells of
     */
    Device.Transfer take(int unit, Tensor gradient, Pending ready) {
        boolean add = adds;
        boolean count = counts;
        Device.Transfer copy = gradient == null || add ? null : device.toHost(sums[unit], gradient, ready);
        arriving[unit] = thread.submit(() -> {
            if (copy != null) {
                copy.await();
            } else if (gradient != null) {
                add(sums[unit], gradient, ready);
            } else if (!add) {
                device.hostOps().zero(sums[unit]);
            }
            if (count) {
                squares[unit] = device.hostOps().sumOfSquares(sums[unit]);
                double found = squares[unit];
                observed[unit] = observer == null ? null : observing.submit(() -> tell(unit, found, ready));
            }
        });
        return copy;
    }

    /** Not when nobody waits for the step's end any more. */
    private void tell(int unit, double found, Pending ready) {
        if (!closing) {
            observer.arrived(unit, found, ready);
        }
    }

    /** Piece by piece, one on its way while the one before is added. */
    private void add(Tensor sum, Tensor gradient, Pending ready) {
        Device.Transfer next = copy(0, gradient, ready);
        for (long at = 0; at < sum.elements(); at += PIECE) {
            Device.Transfer here = next;
            if (at + PIECE < sum.elements()) {
                next = copy(at + PIECE, gradient, ready);
            }
            here.await();
            long count = Math.min(PIECE, sum.elements() - at);
            device.hostOps().add(sum.slice(at, count), place(at).slice(0, count));
        }
    }

    private Device.Transfer copy(long at, Tensor gradient, Pending ready) {
        long count = Math.min(PIECE, gradient.elements() - at);
        return device.toHost(place(at).slice(0, count), gradient.slice(at, count), ready);
    }

    private Tensor place(long at) {
        return places[(int) (at / PIECE % 2)];
    }

    /** Waits until the unit's gradient has come. */
    void await(int unit) {
        if (arriving[unit] != null) {
            await(arriving[unit]);
            arriving[unit] = null;
        }
    }

    /** Waits until the observer is done with the unit's sum, which has come. */
    void awaitObserver(int unit) {
        if (observed[unit] != null) {
            await(observed[unit]);
            observed[unit] = null;
        }
    }

    private static void await(Future<?> done) {
        try {
            done.get();
        } catch (ExecutionException e) {
            if (e.getCause() instanceof RuntimeException failure) {
                throw failure;
            }
            if (e.getCause() instanceof Error error) {
                throw error;
            }
            throw new IllegalStateException(e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CollectiveException("interrupted while gradients come from the device");
        }
    }

    /** Of the unit's sum after a step's last round, in double precision. */
    double sumOfSquares(int unit) {
        return squares[unit];
    }

    /** Waits for what is under way, whoever interrupts: it writes to memory that is given back next. The observer is told of nothing more. */
    @Override
    public void close() {
        closing = true;
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
        boolean over = ended(thread, end) & ended(observing, end);
        if (!over) {
            throw new IllegalStateException("gradients are still on their way from the device");
        }
    }

    private static boolean ended(ExecutorService thread, long end) {
        thread.shutdown();
        boolean interrupted = false;
        boolean over = false;
        while (!over && System.nanoTime() < end) {
            try {
                over = thread.awaitTermination(end - System.nanoTime(), TimeUnit.NANOSECONDS);
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        return over;
    }
}
