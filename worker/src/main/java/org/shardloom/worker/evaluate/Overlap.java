package org.shardloom.worker.evaluate;

/**
 * What two collections have in common, as shares between 0 and 1.
 *
 * @param precision shared items / items of the answer
 * @param recall shared items / items of the reference
 * @param f1 harmonic mean of the two (van Rijsbergen, 1979, with equal weights); 0 where both are 0
 */
public record Overlap(double precision, double recall, double f1) {

    /** Shares of the counts; a share of nothing is 0. */
    static Overlap of(int shared, int ofAnswer, int ofReference) {
        double precision = ofAnswer == 0 ? 0 : (double) shared / ofAnswer;
        double recall = ofReference == 0 ? 0 : (double) shared / ofReference;
        // Equal to 2 P R / (P + R) with one rounding less: identical collections give exactly 1.
        double f1 = shared == 0 ? 0 : 2.0 * shared / (ofAnswer + ofReference);
        return new Overlap(precision, recall, f1);
    }
}
