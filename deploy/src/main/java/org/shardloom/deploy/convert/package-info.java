/** Settings of other tools turned into job files. */
package org.shardloom.deploy.convert;
