package org.shardloom.deploy.doctor;

import java.util.List;

/** Looks at one thing. Changes nothing. */
interface Check {
    /** What there is to say; nothing where it does not matter to the situation. */
    List<Finding> look(Situation situation);
}
