package org.shardloom.deploy.cluster;

import akka.actor.AbstractActorWithTimers;
import akka.actor.ActorSystem;
import akka.actor.Address;
import akka.actor.Props;
import akka.cluster.Cluster;
import akka.cluster.ClusterEvent;
import akka.cluster.ClusterEvent.MemberRemoved;
import akka.cluster.ClusterEvent.ReachableMember;
import akka.cluster.ClusterEvent.UnreachableMember;
import akka.cluster.DowningProvider;
import akka.cluster.Member;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Option;
import scala.concurrent.duration.FiniteDuration;

/**
 * Resolves a split of a run's cluster: the side of the coordinator goes on, and only the coordinator decides who is not on it. A run without
 * its coordinator is none, so whatever the members think of each other, it is never taken out; Akka's own strategies would take it out
 * together with a worker when both find each other unreachable for a moment, as on a host under load.
 *
 * <p>The coordinator removes a member that has been unreachable for {@link #SETTLED} by its own failure detector. A worker that has not
 * reached the coordinator for that long and {@link #PATIENCE} more takes itself out, which ends it.
 */
public final class CoordinatorDecides extends DowningProvider {
    static final Duration SETTLED = Duration.ofSeconds(2);
    static final Duration PATIENCE = Duration.ofSeconds(3);
    private static final String COORDINATOR = "coordinator";

    /** Akka makes it, by its name in the configuration. */
    public CoordinatorDecides(ActorSystem system) {}

    @Override
    public FiniteDuration downRemovalMargin() {
        return FiniteDuration.fromNanos(0);
    }

    @Override
    public Option<Props> downingActorProps() {
        return Option.apply(Props.create(Decider.class, Decider::new));
    }

    /** The decisions of one member, on an actor of the cluster. */
    static final class Decider extends AbstractActorWithTimers {
        private static final Logger LOG = LoggerFactory.getLogger(CoordinatorDecides.class);
        private static final String TICK = "tick";
        private static final Duration INTERVAL = Duration.ofMillis(250);

        private final Cluster cluster = Cluster.get(getContext().getSystem());
        private final boolean decides = cluster.getSelfRoles().contains(COORDINATOR);
        /** Who is unreachable, and since when in nanoseconds of this JVM. */
        private final Map<Member, Long> unreachable = new HashMap<>();

        @Override
        public void preStart() {
            cluster.subscribe(
                    getSelf(),
                    ClusterEvent.initialStateAsEvents(),
                    UnreachableMember.class,
                    ReachableMember.class,
                    MemberRemoved.class);
            getTimers().startTimerWithFixedDelay(TICK, TICK, INTERVAL);
        }

        @Override
        public void postStop() {
            cluster.unsubscribe(getSelf());
        }

        @Override
        public Receive createReceive() {
            return receiveBuilder()
                    .match(UnreachableMember.class, e -> unreachable.putIfAbsent(e.member(), System.nanoTime()))
                    .match(ReachableMember.class, e -> unreachable.remove(e.member()))
                    .match(MemberRemoved.class, e -> unreachable.remove(e.member()))
                    .matchEquals(TICK, tick -> decide())
                    .build();
        }

        private void decide() {
            List<Address> lost = new ArrayList<>();
            unreachable.forEach((member, since) -> {
                long nanos = System.nanoTime() - since;
                boolean settled = nanos >= SETTLED.toNanos() && isSilent(member.address());
                if (decides && !member.address().equals(cluster.selfAddress())) {
                    if (settled) {
                        lost.add(member.address());
                    }
                } else if (!decides && member.hasRole(COORDINATOR) && settled) {
                    if (nanos >= SETTLED.plus(PATIENCE).toNanos()) {
                        lost.add(cluster.selfAddress());
                    }
                }
            });
            for (Address address : lost) {
                LOG.info("{} is taken out of the cluster: unreachable from here", address);
                cluster.down(address);
            }
        }

        /** As far as this member can tell itself: others may be wrong, or slow. */
        private boolean isSilent(Address address) {
            return !cluster.failureDetector().isMonitoring(address)
                    || !cluster.failureDetector().isAvailable(address);
        }
    }
}
