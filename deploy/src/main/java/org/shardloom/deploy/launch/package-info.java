/** Starting and ending the processes of a run on this host, and finding a run again. */
package org.shardloom.deploy.launch;
