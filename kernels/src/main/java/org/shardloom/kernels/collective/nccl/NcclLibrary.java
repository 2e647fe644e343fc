package org.shardloom.kernels.collective.nccl;

import org.bytedeco.cuda.global.nccl;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.shardloom.kernels.cuda.probe.Nccl;

/** The host's libnccl.so.2: whether it is there and will do. */
final class NcclLibrary {
    /** The first whose communicators take all the settings that {@link Communicator} gives, and can be aborted whatever they are at. */
    static final int OLDEST = Nccl.OLDEST;

    private static String missing;
    private static boolean loaded;

    private NcclLibrary() {}

    /** Its version, as {@code 2.23.4}; or why it will not do, as one line. */
    record Found(String version, String problem) {}

    static synchronized Found find() {
        if (!loaded && missing == null) {
            try {
                Loader.load(nccl.class);
                loaded = true;
            } catch (LinkageError e) {
                // The second time the loader only says that the class could not be initialized.
                missing = "there is no NCCL: " + firstLine(e)
                        + "; libnccl.so.2 and libcudart.so.12 must be among the system's libraries, or on LD_LIBRARY_PATH";
            }
        }
        if (missing != null) {
            return new Found("", missing);
        }
        int[] code = new int[1];
        int result = nccl.ncclGetVersion(code);
        if (result != nccl.ncclSuccess) {
            return new Found("", "ncclGetVersion: " + text(result));
        }
        String version = name(code[0]);
        return code[0] < OLDEST
                ? new Found(version, "NCCL " + version + " is too old, " + name(OLDEST) + " is the oldest that will do")
                : new Found(version, null);
    }

    private static String firstLine(Throwable e) {
        Throwable cause = e;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return String.valueOf(cause.getMessage()).lines().findFirst().orElse(cause.toString());
    }

    private static String name(int code) {
        return code / 10000 + "." + code / 100 % 100 + "." + code % 100;
    }

    /** What NCCL calls a result. */
    static String text(int result) {
        BytePointer text = nccl.ncclGetErrorString(result);
        return text == null || text.isNull() ? "result " + result : text.getString() + " (" + result + ")";
    }
}
