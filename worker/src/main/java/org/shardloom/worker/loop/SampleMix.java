package org.shardloom.worker.loop;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.shardloom.worker.data.DataOrder;
import org.shardloom.worker.data.Dataset;
import org.shardloom.worker.data.Sample;

/**
 * The endless sequence of samples of a run: data sets in shares of an epoch, in an order that depends on the seed only. A data set of
 * weight w gives w times its samples to each epoch; below 1, the epochs go on where the one before stopped, so that all are seen.
 */
final class SampleMix {
    private final List<Dataset> datasets;
    private final List<Double> weights;
    private final List<DataOrder> within = new ArrayList<>();
    /** Samples of an epoch that come from the data sets before each. */
    private final int[] first;

    private final DataOrder order;

    /**
     * Mixes data sets.
     *
     * @param weights as many as data sets
     */
    SampleMix(List<Dataset> datasets, List<Double> weights, long seed, boolean shuffle) {
        this.datasets = List.copyOf(datasets);
        this.weights = List.copyOf(weights);
        this.first = new int[datasets.size() + 1];
        for (int d = 0; d < datasets.size(); d++) {
            long share = Math.max(1, Math.round(weights.get(d) * datasets.get(d).size()));
            first[d + 1] = Math.toIntExact(first[d] + share);
            // A data set alone is shuffled by the epoch's order; within a mix each has an order of its own, too.
            boolean own = shuffle && datasets.size() > 1;
            within.add(new DataOrder(seed + 7919L * (d + 1), datasets.get(d).size(), own));
        }
        this.order = new DataOrder(seed, first[datasets.size()], shuffle);
    }

    /** Samples of an epoch. */
    int epochSize() {
        return order.samples();
    }

    /** The sample at a position that runs on over epochs. */
    Sample at(long position) {
        int place = order.sampleAt(position);
        int d = 0;
        while (place >= first[d + 1]) {
            d++;
        }
        int share = first[d + 1] - first[d];
        long running = order.epochOf(position) * share + place - first[d];
        return datasets.get(d).sample(within.get(d).sampleAt(running));
    }

    /** Longest sample. */
    int longest() {
        return Math.toIntExact(
                datasets.stream().mapToLong(d -> d.summary().longest()).max().orElse(0));
    }

    /** SHA-256, in hexadecimal digits, of the samples and of what comes with them. */
    String digest(String with) {
        String all = datasets.size() == 1 ? with : with + weights;
        for (Dataset dataset : datasets) {
            all = dataset.digest(all);
        }
        return all;
    }

    /** For people. */
    String summary() {
        if (datasets.size() == 1) {
            return datasets.get(0).summary().describe();
        }
        return datasets.stream()
                .map(d -> String.format(
                        Locale.ROOT, "%s (weight %s)", d.summary().describe(), weights.get(datasets.indexOf(d))))
                .collect(Collectors.joining(
                        " + ", "", String.format(Locale.ROOT, "; %,d samples an epoch", epochSize())));
    }
}
