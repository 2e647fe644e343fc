/**
 * The life of a run: {@link org.shardloom.coordinator.run.RunMachine} decides, purely; {@link
 * org.shardloom.coordinator.run.CoordinatorActor} carries out.
 */
package org.shardloom.coordinator.run;
