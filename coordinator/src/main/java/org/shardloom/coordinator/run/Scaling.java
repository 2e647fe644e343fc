package org.shardloom.coordinator.run;

/** Brings the number of workers that are there and the number that is wanted together, as far as they come in time. */
final class Scaling {
    private final RunSettings settings;
    private final RunStatus status;
    private final Roster roster;
    private final Membership members;
    private final WantedWorkers wanted;

    Scaling(RunSettings settings, RunStatus status, Roster roster, Membership members, WantedWorkers wanted) {
        this.settings = settings;
        this.status = status;
        this.roster = roster;
        this.members = members;
        this.wanted = wanted;
    }

    /** People want another number; the request is answered once the run has it, or cannot have it. */
    void ask(long request, int count, long now) {
        if (status.isFinal() || status.is(RunState.FINISHING) || status.stopping()) {
            status.want(new Effect.AnswerScale(request, "the run is ending"));
            return;
        }
        if (count < settings.leastWorkers()) {
            status.want(new Effect.AnswerScale(
                    request,
                    "the run needs " + settings.leastWorkers() + " workers (cluster.min_workers), not " + count));
            return;
        }
        wanted.ask(request, count, now);
        members.launchMissing(wanted.count());
        if (!status.waiting()) {
            members.dismissSurplus(wanted.count());
        }
        if (status.is(RunState.TRAINING)) {
            answerIfReached();
        }
    }

    /** Whoever waits for the number hears that the run has it. */
    void answerIfReached() {
        if (members.size() == wanted.count()) {
            wanted.answer(null);
        }
    }

    /** Whether all that are wanted are there, in the generation or ready for one. */
    boolean isComplete() {
        return roster.size() >= wanted.count();
    }

    /** Whether the next generation should have another size than this one, and can. */
    boolean isDue() {
        return wanted.count() < members.size() || (wanted.count() > members.size() && isComplete());
    }

    /** Goes on without those who do not come in time; why the run cannot go on, or null. */
    String giveUpLate(long now) {
        if (isComplete()) {
            return null;
        }
        String came = "only " + roster.size() + " of " + wanted.count() + " workers came within "
                + settings.joinTimeoutMillis() / 1000 + " s";
        if (status.waiting() && now - status.since() > settings.joinTimeoutMillis()) {
            if (roster.size() < settings.leastWorkers()) {
                return came;
            }
            status.notice(true, came + "; going on with them");
            wanted.lower(roster.size(), came);
        } else if (status.is(RunState.TRAINING) && now - wanted.since() > settings.joinTimeoutMillis()) {
            giveUp(came);
        }
        return null;
    }

    /** The number that was asked for is out of reach: the run keeps what it has. */
    void giveUp(String why) {
        wanted.lower(members.size(), why);
        members.dismissSurplus(wanted.count());
    }
}
