package org.shardloom.coordinator.run;

import akka.actor.typed.ActorRef;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.shardloom.protocol.message.WorkerMessage;

/** Where the registered workers are reached. Used by one actor. */
final class WorkerRefs {
    private final Map<Integer, ActorRef<WorkerMessage>> refs = new HashMap<>();

    void add(int workerId, ActorRef<WorkerMessage> worker) {
        refs.put(workerId, worker);
    }

    boolean has(int workerId) {
        return refs.containsKey(workerId);
    }

    void remove(int workerId) {
        refs.remove(workerId);
    }

    /** Forgets the worker that was reached there; its number, if it was known. */
    Optional<Integer> removeRef(ActorRef<?> worker) {
        Optional<Integer> id = refs.entrySet().stream()
                .filter(e -> e.getValue().equals(worker))
                .map(Map.Entry::getKey)
                .findFirst();
        id.ifPresent(refs::remove);
        return id;
    }

    /** Sends it, if the worker is there. */
    void tell(int workerId, WorkerMessage message) {
        ActorRef<WorkerMessage> worker = refs.get(workerId);
        if (worker != null) {
            worker.tell(message);
        }
    }
}
