/** A device and a group on paper: what a job would need is known before it starts. */
package org.shardloom.kernels.plan;
