package org.shardloom.worker.model;

/** Rotary position tables (Su et al., 2021, "RoFormer"). */
public final class Rotary {
    private Rotary() {}

    /** base^(-2i / rotaryDim), for i below rotaryDim / 2: the references compute them and the angles in fp32, and so must we. */
    public static float[] frequencies(int rotaryDim, double base) {
        float[] frequencies = new float[rotaryDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = (float) (1.0 / Math.pow(base, 2.0 * i / rotaryDim));
        }
        return frequencies;
    }

    /**
     * cos and sin of position * base^(-2i / rotaryDim): [positions, rotaryDim / 2, 2].
     */
    static float[] table(int positions, int rotaryDim, double base) {
        int pairs = rotaryDim / 2;
        float[] frequencies = frequencies(rotaryDim, base);
        float[] table = new float[positions * pairs * 2];
        for (int i = 0; i < pairs; i++) {
            for (int p = 0; p < positions; p++) {
                float angle = p * frequencies[i];
                table[(p * pairs + i) * 2] = (float) Math.cos(angle);
                table[(p * pairs + i) * 2 + 1] = (float) Math.sin(angle);
            }
        }
        return table;
    }
}
