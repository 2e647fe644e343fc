package org.shardloom.coordinator.run;

import java.util.function.IntPredicate;
import org.shardloom.protocol.message.CoordinatorMessage.AskJob;
import org.shardloom.protocol.message.CoordinatorMessage.Register;
import org.shardloom.protocol.message.RunSecret;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Who may take part in a run: who knows its secret, has prepared for its job and has read the same model configuration and samples as
 * the first that took part, as long as the run goes on.
 */
final class Admission {
    private static final Logger LOG = LoggerFactory.getLogger(Admission.class);
    private final RunSecret secret;
    private final String jobFingerprint;
    private final RunListener listener;
    private String contentDigest = "";
    private boolean ended;

    Admission(RunSecret secret, String jobFingerprint, RunListener listener) {
        this.secret = secret;
        this.jobFingerprint = jobFingerprint;
        this.listener = listener;
    }

    /** The run has ended: nobody is admitted any more. */
    void end() {
        ended = true;
    }

    /** Of what those that take part have read; empty before the first. */
    String contentDigest() {
        return contentDigest;
    }

    /** Why the worker may not have the job, or null. */
    String problem(AskJob m) {
        return refused(-1, m.host(), m.pid(), common(m.proof()));
    }

    /**
     * Why the worker may not take part, or null.
     *
     * @param taken whether there is a worker of that number
     */
    String problem(Register m, IntPredicate taken) {
        String problem = common(m.proof());
        if (problem == null && !jobFingerprint.equals(m.jobFingerprint())) {
            problem = "this worker was started with another job's configuration";
        } else if (problem == null && taken.test(m.workerId())) {
            problem = "worker " + m.workerId() + " is there already";
        } else if (problem == null && !m.contentDigest().isEmpty()) {
            if (contentDigest.isEmpty()) {
                contentDigest = m.contentDigest();
            } else if (!contentDigest.equals(m.contentDigest())) {
                problem =
                        "the model's configuration, tokenizer or training data that it has read are not those of the run; "
                                + "put the same files under the same paths";
            }
        }
        return refused(m.workerId(), m.host(), m.pid(), problem);
    }

    private String common(String proof) {
        if (!secret.verifies(proof, CoordinatorActor.REGISTER)) {
            return "the run's secret does not match";
        }
        return ended ? "the run has ended" : null;
    }

    private String refused(int id, String host, long pid, String problem) {
        if (problem != null) {
            LOG.info("refused worker {} of {} (pid {}): {}", id, host, pid, problem);
            if (!ended) {
                listener.onNotice(true, "refused a worker of " + host + " (process " + pid + "): " + problem);
            }
        }
        return problem;
    }
}
