package org.shardloom.worker.weights;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Names the tensors in the nested dicts and lists of a checkpoint: keys joined with '/', items of lists and tuples by
 * their index. Other leaves are skipped. Depth, visits and names are limited, because a few bytes of pickle can describe
 * an endless or exponentially large tree.
 */
final class TensorTree {
    private static final int MAX_DEPTH = 64;
    private static final int MAX_VISITS = 2_000_000;
    private static final int MAX_NAME_CHARS = 4096;
    private static final long MAX_TOTAL_NAME_CHARS = 64L << 20;

    private final Map<String, TorchValues.View> views = new LinkedHashMap<>();
    private int visits;
    private long nameChars;

    private TensorTree() {}

    /**
     * Collects the tensors below a checkpoint's root, depth first in the order of the dicts.
     *
     * @throws MalformedPickleException if the root is no dict or list, two tensors get the same name, or a limit is
     *     exceeded
     */
    static Map<String, TorchValues.View> flatten(Object root) {
        if (!(root instanceof TorchValues.Dict) && !(root instanceof TorchValues.Sequence)) {
            throw new MalformedPickleException(
                    "expected a dict of tensors as torch.save(model.state_dict(), ...) writes it, found "
                            + TorchValues.describe(root));
        }
        TensorTree tree = new TensorTree();
        tree.visit("", root, 0);
        return tree.views;
    }

    private void visit(String name, Object value, int depth) {
        if (depth > MAX_DEPTH) {
            throw new MalformedPickleException("expected nested dicts of at most " + MAX_DEPTH + " levels");
        }
        if (value instanceof TorchValues.Dict dict) {
            for (Map.Entry<Object, Object> item : dict.items.entrySet()) {
                if (isInteresting(item.getValue())) {
                    visit(child(name, depth, String.valueOf(item.getKey())), item.getValue(), depth + 1);
                }
            }
        } else if (value instanceof TorchValues.Sequence sequence) {
            for (int i = 0; i < sequence.items.size(); i++) {
                if (isInteresting(sequence.items.get(i))) {
                    visit(child(name, depth, Integer.toString(i)), sequence.items.get(i), depth + 1);
                }
            }
        } else if (value instanceof TorchValues.View view) {
            if (name.isEmpty() || views.put(name, view) != null) {
                throw new MalformedPickleException(
                        "expected distinct, non-empty tensor names, found " + WeightsException.quote(name) + " again");
            }
        }
    }

    private boolean isInteresting(Object value) {
        if (++visits > MAX_VISITS) {
            throw new MalformedPickleException("expected nested dicts of at most " + MAX_VISITS + " entries");
        }
        return value instanceof TorchValues.Dict
                || value instanceof TorchValues.Sequence
                || value instanceof TorchValues.View;
    }

    private String child(String parent, int depth, String key) {
        long length = (long) parent.length() + 1 + key.length();
        nameChars += length;
        if (length > MAX_NAME_CHARS || nameChars > MAX_TOTAL_NAME_CHARS) {
            throw new MalformedPickleException("tensor names are too long: more than " + MAX_NAME_CHARS
                    + " characters each or " + MAX_TOTAL_NAME_CHARS + " together");
        }
        return depth == 0 ? key : parent + "/" + key;
    }
}
