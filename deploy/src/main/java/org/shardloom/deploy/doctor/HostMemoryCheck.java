package org.shardloom.deploy.doctor;

import java.util.List;
import org.shardloom.worker.plan.HostFit;

/** Memory of this host, for workers that are all on it. */
final class HostMemoryCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        if (situation.needs().isEmpty() || situation.severalHosts()) {
            return List.of();
        }
        JobNeeds needs = situation.needs().get();
        long available = situation.host().availableMemory();
        long most = available + situation.host().freeSwap();
        if (most < 0 || available == Long.MAX_VALUE) {
            return List.of(); // it is not known
        }
        int workers = needs.job().workers();
        HostFit fit = situation.gpusWanted()
                ? HostFit.ofGpus(needs.job(), needs.onGpus(situation.smallestFree()))
                : needs.onProcessors(available);
        String found = "the job needs " + Bytes.text(fit.bytes()) + " of host memory ("
                + (workers == 1 ? "1 worker" : workers + " workers of " + Bytes.text(fit.bytes() / workers)) + "), and "
                + Bytes.text(available) + " are available";
        if (fit.bytes() > most) {
            return List.of(Finding.error(
                    "host memory",
                    found,
                    situation.gpusWanted()
                            ? "train less of the model (method), or use more hosts (--hosts)"
                            : needs.changeOnProcessors(available)));
        }
        if (fit.bytes() > available) {
            return List.of(Finding.warning(
                    "host memory", found + ": it will swap, which makes a run many times as slow", "free some"));
        }
        return List.of(Finding.ok("host memory", found));
    }
}
