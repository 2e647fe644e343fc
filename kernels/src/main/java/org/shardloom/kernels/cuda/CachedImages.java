package org.shardloom.kernels.cuda;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.zip.CRC32C;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Kernels compiled where they run, once: a cubin (or PTX, for a GPU newer than the compiler) is kept under a hash of all that it depends on, the sources, the architecture, the options
 * and the compiler's version. Processes may share the directory.
 */
public final class CachedImages implements KernelImages {
    private static final Logger LOG = LoggerFactory.getLogger(CachedImages.class);

    private final Compiler compiler;
    private final KernelSources sources;
    private final Path directory;

    /** What makes an image of sources: a cubin for the architecture sm_90, PTX for compute_90. */
    interface Compiler {
        String version();

        /** Compute capabilities that it knows, as 90 for 9.0. */
        Set<Integer> capabilities();

        byte[] compile(KernelSources sources, List<String> options);
    }

    CachedImages(Compiler compiler, KernelSources sources, Path directory) {
        this.compiler = compiler;
        this.sources = sources;
        this.directory = directory;
    }

    /** {@link #in} the user's directory for caches, by the XDG base directory specification. */
    public static CachedImages ofUser() {
        String given = System.getenv("XDG_CACHE_HOME");
        Path root =
                given != null && !given.isBlank() ? Path.of(given) : Path.of(System.getProperty("user.home"), ".cache");
        return in(root.resolve("shardloom").resolve("kernels"));
    }

    /** The shipped kernels, compiled by NVRTC, kept in the directory, which is created where it is not there. */
    public static CachedImages in(Path directory) {
        return new CachedImages(new Nvrtc(), KernelSources.shipped(), directory);
    }

    @Override
    public byte[] image(String architecture) {
        String target = target(architecture);
        List<String> options = List.of("--std=c++17", "--gpu-architecture=" + target);
        Path file = directory.resolve(target + "-" + hash(options) + (target.equals(architecture) ? ".cubin" : ".ptx"));
        try {
            if (Files.exists(file)) {
                Optional<byte[]> kept = checked(Files.readAllBytes(file));
                if (kept.isPresent()) {
                    return kept.get();
                }
                LOG.warn("{} is damaged: the kernels are compiled anew", file);
            }
        } catch (IOException e) {
            LOG.warn("cannot read compiled kernels: {}", e.toString());
        }
        byte[] image = compiler.compile(sources, options);
        try {
            Files.createDirectories(directory);
            // Written aside and moved: another process sees all of it or nothing.
            Path part = Files.createTempFile(directory, architecture, ".part");
            Files.write(
                    part,
                    ByteBuffer.allocate(image.length + Long.BYTES)
                            .put(image)
                            .putLong(checksum(image, image.length))
                            .array());
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            LOG.warn("compiled kernels are not kept for the next start: {}", e.toString());
        }
        return image;
    }

    /** What comes before the checksum, if that is right. */
    private static Optional<byte[]> checked(byte[] file) {
        int length = file.length - Long.BYTES;
        return length > 0 && ByteBuffer.wrap(file).getLong(length) == checksum(file, length)
                ? Optional.of(Arrays.copyOf(file, length))
                : Optional.empty();
    }

    private static long checksum(byte[] bytes, int length) {
        CRC32C sum = new CRC32C();
        sum.update(bytes, 0, length);
        return sum.getValue();
    }

    /** The architecture, or, where it is newer than the compiler, PTX of the newest that this knows: the driver takes it from there. */
    private String target(String architecture) {
        int wanted = Integer.parseInt(architecture.substring("sm_".length()));
        Set<Integer> known = compiler.capabilities();
        int newest = known.stream().mapToInt(i -> i).max().orElse(wanted);
        if (known.contains(wanted) || newest > wanted) {
            return architecture;
        }
        LOG.warn(
                "the CUDA compiler, version {}, does not know {} yet: the driver makes what it runs from code for compute_{}",
                compiler.version(),
                architecture,
                newest);
        return "compute_" + newest;
    }

    private String hash(List<String> options) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            String all = compiler.version() + "\0" + options + "\0" + sources;
            return HexFormat.of().formatHex(digest.digest(all.getBytes(StandardCharsets.UTF_8)), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
