package org.shardloom.kernels.collective;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/** Says that groups are given up, those too that are still being formed. Given once, it stays. Thread-safe. */
public final class AbortSignal {
    private final List<Consumer<String>> listeners = new ArrayList<>();
    private String reason;

    /** Gives the groups up; a second reason is of no interest. */
    public void abort(String why) {
        List<Consumer<String>> told;
        synchronized (this) {
            if (reason != null) {
                return;
            }
            reason = why;
            told = List.copyOf(listeners);
            listeners.clear();
        }
        told.forEach(listener -> listener.accept(why));
    }

    /** Why the groups were given up, or null as long as they are wanted. */
    public synchronized String reason() {
        return reason;
    }

    /** Has the listener told why, on the thread that aborts; at once, on this thread, where that has happened. It must not block. */
    public void onAbort(Consumer<String> listener) {
        synchronized (this) {
            if (reason == null) {
                listeners.add(listener);
                return;
            }
        }
        listener.accept(reason());
    }

    /**
     * Goes on only as long as the groups are wanted.
     *
     * @throws CollectiveException with the reason, once they are not
     */
    public void check() {
        String why = reason();
        if (why != null) {
            throw new CollectiveException(why);
        }
    }
}
