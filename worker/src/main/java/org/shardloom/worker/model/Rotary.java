package org.shardloom.worker.model;

import org.shardloom.worker.weights.Floats;

/** Rotary position tables (Su et al., 2021, "RoFormer"). */
public final class Rotary {
    private Rotary() {}

    /**
     * base^(-2i / n), for i below n / 2, n being what one position rotates: the references compute them and the angles in fp32, and so must
     * we. ChatGLM-6B's are rounded to fp16 first, in fp32 models too.
     */
    public static float[] frequencies(DecoderConfig config) {
        float[] frequencies = frequencies(2 * config.attention().pairs(), config.ropeBase());
        if (config.firstGlm()) {
            for (int i = 0; i < frequencies.length; i++) {
                frequencies[i] = Floats.halfToFloat(Floats.floatToHalf(frequencies[i]));
            }
        }
        return frequencies;
    }

    private static float[] frequencies(int rotaryDim, double base) {
        float[] frequencies = new float[rotaryDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            frequencies[i] = (float) (1.0 / Math.pow(base, 2.0 * i / rotaryDim));
        }
        return frequencies;
    }

    /**
     * cos and sin of position * frequency: [positions, pairs, 2].
     */
    static float[] table(int positions, DecoderConfig config) {
        int pairs = config.attention().pairs();
        float[] frequencies = frequencies(config);
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
