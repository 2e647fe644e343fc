/** The coordinator's HTTP interface on loopback: what status.sh, scale.sh and stop.sh talk to. */
package org.shardloom.coordinator.http;
