/** How a run's processes form an Akka cluster. */
package org.shardloom.deploy.cluster;
