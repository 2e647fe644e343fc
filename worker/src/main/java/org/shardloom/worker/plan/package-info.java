/** What a job needs of GPUs, hosts, links and disks, known before it starts. */
package org.shardloom.worker.plan;
