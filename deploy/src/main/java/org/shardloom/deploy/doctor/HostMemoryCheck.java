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
        HostFit fit =
                situation.gpusWanted() ? HostFit.ofGpus(needs.job(), needs.atMostOnGpus()) : needs.atMostOnProcessors();
        if (fit.bytes() <= available) {
            return List.of(Finding.ok("host memory", sum("the job needs", fit, available)));
        }
        HostFit least = situation.gpusWanted() ? fit : needs.atLeastOnProcessors();
        String change = situation.gpusWanted()
                ? "train less of the model (method), or use more hosts (--hosts)"
                : needs.changeOnProcessors(available);
        if (least.bytes() > most) {
            return List.of(Finding.error("host memory", sum("the job needs at least", least, available), change));
        }
        if (least.bytes() > available) {
            return List.of(Finding.warning(
                    "host memory",
                    sum("the job needs at least", least, available)
                            + ": it will swap, which makes a run many times as slow",
                    change));
        }
        return List.of(Finding.warning(
                "host memory",
                sum("where several of the longest samples meet in a micro-batch, the job needs", fit, available),
                change));
    }

    private static String sum(String subject, HostFit fit, long available) {
        int workers = fit.job().workers();
        return subject + " " + Bytes.text(fit.bytes()) + " of host memory ("
                + (workers == 1 ? "1 worker" : workers + " workers of " + Bytes.text(fit.bytes() / workers)) + "), and "
                + Bytes.text(available) + " are available";
    }
}
