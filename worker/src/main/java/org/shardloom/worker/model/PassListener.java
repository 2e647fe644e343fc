package org.shardloom.worker.model;

/** Is told by the head, which computes a chunk's logits and their gradient by turns, what belongs to which pass. Same thread. */
public interface PassListener {
    /** The forward pass follows: logits and losses, and with the losses the logits' gradient, which the same operation gives. */
    void forward();

    /** The backward pass follows. */
    void backward();
}
