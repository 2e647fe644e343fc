package org.shardloom.deploy.cluster;

import com.typesafe.config.Config;
import com.typesafe.config.ConfigFactory;
import java.util.Locale;
import org.shardloom.protocol.config.ClusterConfig;
import org.shardloom.protocol.message.RunSecret;

/** Akka's configuration for the members of a run. */
public final class ClusterSettings {
    /** Name of the actor system. */
    public static final String SYSTEM = "shardloom";

    private ClusterSettings() {}

    /**
     * Settings of one member.
     *
     * @param role {@code coordinator} or {@code worker}
     * @param host to listen on
     * @param port to listen on; 0 for a free one
     */
    public static Config of(String role, String host, int port, ClusterConfig cluster, RunSecret secret) {
        String text = String.format(
                Locale.ROOT,
                """
                akka {
                  loglevel = INFO
                  loggers = ["akka.event.slf4j.Slf4jLogger"]
                  logging-filter = "akka.event.slf4j.Slf4jLoggingFilter"
                  log-dead-letters = off
                  log-dead-letters-during-shutdown = off
                  jvm-shutdown-hooks = off
                  jvm-exit-on-fatal-error = on
                  actor.provider = cluster
                  actor.default-dispatcher.fork-join-executor { parallelism-min = 2, parallelism-max = 4 }
                  actor.internal-dispatcher.fork-join-executor { parallelism-min = 2, parallelism-max = 4 }
                  remote.artery {
                    transport = tcp
                    canonical { hostname = "%s", port = %d }
                    advanced.maximum-frame-size = 1 MiB
                    advanced.shutdown-flush-timeout = 200ms
                  }
                  coordinated-shutdown { exit-jvm = off, run-by-jvm-shutdown-hook = off, run-by-actor-system-terminate = %s }
                  cluster {
                    roles = ["%s"]
                    jmx.enabled = off
                    shutdown-after-unsuccessful-join-seed-nodes = 30s
                    gossip-interval = 200ms
                    leader-actions-interval = 200ms
                    unreachable-nodes-reaper-interval = 500ms
                    failure-detector {
                      heartbeat-interval = %dms
                      acceptable-heartbeat-pause = %dms
                      expected-response-after = 1s
                    }
                    downing-provider-class = "org.shardloom.deploy.cluster.CoordinatorDecides"
                    configuration-compatibility-check.checkers.shardloom = "org.shardloom.deploy.cluster.SameRunChecker"
                  }
                }
                shardloom.run-proof = "%s"
                """,
                host,
                port,
                // A worker that leaves tells the others; the coordinator goes last, with nobody to tell.
                role.equals("worker") ? "on" : "off",
                role,
                Math.round(cluster.heartbeatSeconds() * 1000),
                Math.round(cluster.lostAfterSeconds() * 1000 / 2),
                secret.proof("cluster"));
        return ConfigFactory.parseString(text).withFallback(ConfigFactory.load());
    }
}
