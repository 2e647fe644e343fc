/** A worker's life on its engine thread: data, generations, steps, checkpoints. Knows no actor. */
package org.shardloom.worker.loop;
