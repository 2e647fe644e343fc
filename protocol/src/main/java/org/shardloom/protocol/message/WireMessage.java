package org.shardloom.protocol.message;

/** Marks what crosses the network through Akka Serialization Jackson; see {@code reference.conf}. */
public interface WireMessage {}
