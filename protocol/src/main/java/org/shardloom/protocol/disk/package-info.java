/** How coordinator and workers write directories that are whole or absent, and what they do when a disk is full. Blocking. */
package org.shardloom.protocol.disk;
