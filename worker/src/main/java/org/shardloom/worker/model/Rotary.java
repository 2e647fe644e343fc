package org.shardloom.worker.model;

/** Rotary position tables (Su et al., 2021, "RoFormer"). */
final class Rotary {
    private Rotary() {}

    /**
     * cos and sin of position * base^(-2i / rotaryDim): [positions, rotaryDim / 2, 2].
     */
    static float[] table(int positions, int rotaryDim, double base) {
        int pairs = rotaryDim / 2;
        float[] table = new float[positions * pairs * 2];
        for (int i = 0; i < pairs; i++) {
            // The references compute frequencies and angles in fp32; so must we, or long positions drift apart.
            float frequency = (float) (1.0 / Math.pow(base, 2.0 * i / rotaryDim));
            for (int p = 0; p < positions; p++) {
                float angle = p * frequency;
                table[(p * pairs + i) * 2] = (float) Math.cos(angle);
                table[(p * pairs + i) * 2 + 1] = (float) Math.sin(angle);
            }
        }
        return table;
    }
}
