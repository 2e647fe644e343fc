/** Who owns which part of the training state, and who does which part of a step: pure values and functions. */
package org.shardloom.protocol.plan;
