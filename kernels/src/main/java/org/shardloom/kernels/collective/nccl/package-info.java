/**
 * Collectives between GPUs through NCCL, called by JavaCPP's binding. {@code Roll} is how the ranks meet, {@code Communicator} what talks to
 * NCCL, {@code Reductions} and {@code Moves} say what is asked of it, {@code Watcher} ends what does not end by itself.
 *
 * <p>NCCL itself tells a rank of a peer's end only where their connection notices, as over a network; between GPUs of one host a lost
 * peer looks like a slow one. It is the group's {@code AbortSignal}, or in the end the time limit, that frees the others.
 */
package org.shardloom.kernels.collective.nccl;
