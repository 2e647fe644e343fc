package org.shardloom.worker.tokenizer;

import java.util.Arrays;

/** A map from byte strings to ids that can be walked byte by byte: one hash table for the edges of all nodes. */
final class ByteTrie {
    static final int ROOT = 0;
    private static final long FREE = -1;

    private long[] edges = new long[1 << 10];
    private int[] targets = new int[edges.length];
    private int[] values = {-1};
    private int nodes = 1;

    ByteTrie() {
        Arrays.fill(edges, FREE);
    }

    void put(byte[] key, int value) {
        int node = ROOT;
        for (byte b : key) {
            int next = next(node, b);
            node = next >= 0 ? next : addNode(node, b);
        }
        values[node] = value;
    }

    /** The node after a byte, or -1. */
    int next(int node, byte b) {
        long edge = edge(node, b);
        int slot = slot(edge);
        return edges[slot] == edge ? targets[slot] : -1;
    }

    /** The id of the string that ends at a node, or -1. */
    int value(int node) {
        return values[node];
    }

    private int addNode(int node, byte b) {
        // Half full at most.
        if (2 * nodes >= edges.length) {
            grow();
        }
        if (nodes == values.length) {
            values = Arrays.copyOf(values, 2 * nodes);
        }
        values[nodes] = -1;
        long edge = edge(node, b);
        int slot = slot(edge);
        edges[slot] = edge;
        targets[slot] = nodes;
        return nodes++;
    }

    private void grow() {
        long[] oldEdges = edges;
        int[] oldTargets = targets;
        edges = new long[2 * oldEdges.length];
        targets = new int[edges.length];
        Arrays.fill(edges, FREE);
        for (int i = 0; i < oldEdges.length; i++) {
            if (oldEdges[i] != FREE) {
                int slot = slot(oldEdges[i]);
                edges[slot] = oldEdges[i];
                targets[slot] = oldTargets[i];
            }
        }
    }

    private static long edge(int node, byte b) {
        return (long) node << 8 | b & 0xff;
    }

    /** Where an edge is, or would be. */
    private int slot(long edge) {
        // The upper bits of a product with 2^64 / golden ratio are well mixed.
        int slot = (int) (edge * 0x9E3779B97F4A7C15L >>> 40) & edges.length - 1;
        while (edges[slot] != FREE && edges[slot] != edge) {
            slot = slot + 1 & edges.length - 1;
        }
        return slot;
    }
}
