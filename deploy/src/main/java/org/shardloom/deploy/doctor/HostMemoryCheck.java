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
        return situation.gpusWanted()
                ? List.of(onGpus(situation, needs, available, most))
                : List.of(onProcessors(needs, available, most));
    }

    /** Most of it is page-locked, and so never swapped. */
    private static Finding onGpus(Situation situation, JobNeeds needs, long available, long most) {
        HostFit fit = HostFit.ofGpus(needs.job(), needs.atMostOnGpus());
        String needed = sum("the job needs", fit, available);
        if (fit.bytes() <= available) {
            return Finding.ok("host memory", needed);
        }
        long room = situation.fullest().map(situation::free).orElse(Long.MAX_VALUE);
        String change = needs.changeOnHostOfGpus(available, room);
        long locked = fit.plan().hostBytes();
        if (locked > available) {
            return Finding.error(
                    "host memory", needed + "; " + Bytes.text(locked) + " are page-locked, which cannot swap", change);
        }
        return fit.bytes() > most
                ? Finding.error("host memory", needed, change)
                : Finding.warning("host memory", needed + ": workers will swap, which makes them slow", change);
    }

    private static Finding onProcessors(JobNeeds needs, long available, long most) {
        HostFit fit = needs.atMostOnProcessors();
        if (fit.bytes() <= available) {
            return Finding.ok("host memory", sum("the job needs", fit, available));
        }
        HostFit least = needs.atLeastOnProcessors();
        String change = needs.changeOnProcessors(available);
        String needed = sum("the job needs at least", least, available);
        if (least.bytes() > most) {
            return Finding.error("host memory", needed, change);
        }
        if (least.bytes() > available) {
            return Finding.warning(
                    "host memory", needed + ": it will swap, which makes a run many times as slow", change);
        }
        return Finding.warning(
                "host memory",
                sum("where several of the longest samples meet in a micro-batch, the job needs", fit, available),
                change);
    }

    private static String sum(String subject, HostFit fit, long available) {
        int workers = fit.job().workers();
        return subject + " " + Bytes.text(fit.bytes()) + " of host memory ("
                + (workers == 1 ? "1 worker" : workers + " workers of " + Bytes.text(fit.bytes() / workers)) + "), and "
                + Bytes.text(available) + " are available";
    }
}
