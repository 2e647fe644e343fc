package org.shardloom.worker.data;

/** Who speaks. */
public enum Role {
    /** Instructions for the whole conversation. */
    SYSTEM,
    /** The person. */
    USER,
    /** The model. */
    ASSISTANT,
    /** A tool's result; with ChatGLM3 only. */
    OBSERVATION
}
