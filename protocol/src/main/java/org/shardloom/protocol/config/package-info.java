/**
 * The job file: what a user can set, read strictly and once, before anything starts.
 *
 * <p>{@link org.shardloom.protocol.config.JobFile} reads YAML and {@code --set} overrides into an immutable {@link
 * org.shardloom.protocol.config.JobConfig}. Every key, with its type, default and description, is declared once, in
 * {@code JobKeys}; parsing, error messages, the canonical rendering and the documentation all come from that list. Rules
 * that tie several keys together are in {@code JobChecks}; questions that only the disk can answer are in {@link
 * org.shardloom.protocol.config.JobPreflight}.
 *
 * <p>To add a key: a component in its record, a constant in {@code JobKeys}, a line in {@code JobAssembler}.
 */
package org.shardloom.protocol.config;
