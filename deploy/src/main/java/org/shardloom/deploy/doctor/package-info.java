/** Looks at this host before a job starts: what it has, what the job needs, and what to do where the one does not do for the other. */
package org.shardloom.deploy.doctor;
