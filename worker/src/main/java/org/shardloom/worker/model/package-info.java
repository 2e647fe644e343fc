/**
 * Decoders as single-device code, written once against the operations of {@code kernels.device}: forward and backward by layer.
 * Nothing here knows of ranks, shards or actors.
 */
package org.shardloom.worker.model;
