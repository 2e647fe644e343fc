package org.shardloom.worker.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Continues token sequences with the likeliest token, several at a time. */
public final class GreedyGenerator {
    private final LoadedModel model;
    private final int stop;

    /**
     * A generator that ends a sequence at the token.
     *
     * @param stop end-of-sequence id, or -1 for none
     */
    public GreedyGenerator(LoadedModel model, int stop) {
        this.model = model;
        this.stop = stop;
    }

    /** What follows each prompt, without the stop token; at most that many tokens, and as far as the model has positions. */
    public List<int[]> generate(List<int[]> prompts, int maxNewTokens) {
        List<int[]> sequences = new ArrayList<>(prompts);
        boolean[] done = new boolean[prompts.size()];
        for (int n = 0; n < maxNewTokens; n++) {
            List<Integer> open = new ArrayList<>();
            for (int i = 0; i < done.length; i++) {
                if (!done[i] && (n == 0 || sequences.get(i).length <= model.positions())) {
                    open.add(i);
                }
            }
            if (open.isEmpty()) {
                break;
            }
            float[][] logits =
                    model.lastLogits(open.stream().map(sequences::get).toList());
            for (int k = 0; k < open.size(); k++) {
                int best = argMax(logits[k]);
                int i = open.get(k);
                if (best == stop) {
                    done[i] = true;
                } else {
                    int[] longer = Arrays.copyOf(sequences.get(i), sequences.get(i).length + 1);
                    longer[longer.length - 1] = best;
                    sequences.set(i, longer);
                }
            }
        }
        List<int[]> continuations = new ArrayList<>();
        for (int i = 0; i < prompts.size(); i++) {
            continuations.add(Arrays.copyOfRange(sequences.get(i), prompts.get(i).length, sequences.get(i).length));
        }
        return continuations;
    }

    private static int argMax(float[] values) {
        int best = 0;
        for (int i = 1; i < values.length; i++) {
            if (values[i] > values[best]) {
                best = i;
            }
        }
        return best;
    }
}
