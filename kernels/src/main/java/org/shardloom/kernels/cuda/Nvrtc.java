package org.shardloom.kernels.cuda;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import jcuda.nvrtc.JNvrtc;
import jcuda.nvrtc.nvrtcProgram;

/** NVIDIA's compiler at run time (NVRTC 12). It needs its library, libnvrtc.so.12, but no GPU. */
final class Nvrtc implements CachedImages.Compiler {
    private static final Calls CALLS = new Calls("NVRTC");

    @Override
    public String version() {
        Natives.loadCompiler();
        int[] major = new int[1], minor = new int[1];
        check(JNvrtc.nvrtcVersion(major, minor), "nvrtcVersion");
        return major[0] + "." + minor[0];
    }

    @Override
    public Set<Integer> capabilities() {
        Natives.loadCompiler();
        int[] count = new int[1];
        check(JNvrtc.nvrtcGetNumSupportedArchs(count), "nvrtcGetNumSupportedArchs");
        int[] all = new int[count[0]];
        check(JNvrtc.nvrtcGetSupportedArchs(all), "nvrtcGetSupportedArchs");
        return Arrays.stream(all).boxed().collect(Collectors.toUnmodifiableSet());
    }

    @Override
    public byte[] compile(KernelSources sources, List<String> options) {
        nvrtcProgram program = new nvrtcProgram();
        String[] names = sources.headers().keySet().toArray(String[]::new);
        String[] texts = sources.headers().values().toArray(String[]::new);
        check(
                JNvrtc.nvrtcCreateProgram(program, sources.main(), "kernels.cu", names.length, texts, names),
                "nvrtcCreateProgram");
        try {
            int result = JNvrtc.nvrtcCompileProgram(program, options.size(), options.toArray(String[]::new));
            if (result != 0) {
                String[] log = new String[1];
                JNvrtc.nvrtcGetProgramLog(program, log);
                check(result, "nvrtcCompileProgram", options, "log:\n" + log[0]);
            }
            if (options.stream().anyMatch(option -> option.contains("=compute_"))) {
                String[] text = new String[1];
                check(JNvrtc.nvrtcGetPTX(program, text), "nvrtcGetPTX");
                return (text[0] + "\0").getBytes(StandardCharsets.US_ASCII); // the driver takes it to end with a zero
            }
            long[] size = new long[1];
            check(JNvrtc.nvrtcGetCUBINSize(program, size), "nvrtcGetCUBINSize");
            byte[] image = new byte[Math.toIntExact(size[0])];
            check(JNvrtc.nvrtcGetCUBIN(program, image), "nvrtcGetCUBIN");
            return image;
        } finally {
            check(JNvrtc.nvrtcDestroyProgram(program), "nvrtcDestroyProgram");
        }
    }

    private static void check(int result, String call, Object... arguments) {
        if (result != 0) {
            throw CALLS.failure(
                    CudaException.Library.NVRTC, result, JNvrtc.nvrtcGetErrorString(result), call, arguments);
        }
    }
}
