/** Tuning methods: which parameters of a model are trained, and what is added to it. */
package org.shardloom.worker.tuning;
