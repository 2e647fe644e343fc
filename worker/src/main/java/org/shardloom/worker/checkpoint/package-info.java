/** Writing and reading checkpoints, and turning them into Hugging Face directories. */
package org.shardloom.worker.checkpoint;
