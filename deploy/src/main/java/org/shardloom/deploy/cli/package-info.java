/** The command line. */
package org.shardloom.deploy.cli;
