/** The worker's actor: receives orders, answers, and leaves the mathematics to the engine's thread. */
package org.shardloom.worker.actor;
