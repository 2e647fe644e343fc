/**
 * What coordinator and workers say to each other, as sealed interfaces of records, serialised as CBOR. Every message of a run carries
 * its generation; receivers drop those of another one.
 */
package org.shardloom.protocol.message;
