/** Text from a trained model. */
package org.shardloom.worker.generate;
