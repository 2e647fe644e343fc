package org.shardloom.kernels.cuda;

import org.bytedeco.javacpp.Loader;

/**
 * CUDA's libraries that the program brings along where it was built with {@code -Pcuda-redist}, for hosts that have only NVIDIA's driver. JCuda
 * asks the dynamic linker for them by name, which is content with one that this process has loaded already; NCCL and the CUDA runtime are
 * found by JavaCPP itself.
 */
public final class Redist {
    private static final String DIRECTORY = "/org/bytedeco/cuda/linux-x86_64/";

    private Redist() {}

    /**
     * Loads the library from the class path where the host has none; does nothing where there is none either, so that who needs it says what
     * is missing.
     *
     * @param library as the linker knows it
     * @param binding JavaCPP's, which loads it with those that it needs, in their order
     */
    static void provide(String library, Class<?> binding) {
        if (isOnClassPath(library) && !isOnHost(library)) {
            Loader.load(binding);
        }
    }

    /** Whether the program brings the library along. */
    public static boolean isOnClassPath(String library) {
        return Redist.class.getResource(DIRECTORY + library) != null;
    }

    /** Among the linker's directories, or loaded. */
    private static boolean isOnHost(String library) {
        try {
            Loader.loadGlobal(library);
            return true;
        } catch (UnsatisfiedLinkError e) {
            return false;
        }
    }
}
