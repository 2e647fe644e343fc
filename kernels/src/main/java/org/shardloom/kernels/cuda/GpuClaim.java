package org.shardloom.kernels.cuda;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.DriverProbe;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.slf4j.LoggerFactory;

/**
 * A GPU that this process alone uses among the workers of this host: it holds a lock on a file named after the GPU, which goes with the
 * process however that ends.
 */
public final class GpuClaim implements AutoCloseable {
    /** Names one GPU, by its ordinal or the beginning of its UUID; without it, the first that is free is taken. */
    public static final String CHOICE = "shardloom.gpu";

    private static final Duration PATIENCE = Duration.ofSeconds(30);
    /** A worker that was killed may take seconds to end, and keeps its GPU until then. */
    private static final Duration OWNERS_END = Duration.ofSeconds(10);

    private static final long LOOK_MILLIS = 100;
    private static final int LONGEST_OWNER = 20;

    private final Gpu gpu;
    private final FileChannel lock;

    private GpuClaim(Gpu gpu, FileChannel lock) {
        this.gpu = gpu;
        this.lock = lock;
    }

    /**
     * Takes a GPU of those that the driver shows to this process.
     *
     * @throws CudaException in one line, when there is no driver, no GPU that the kernels run on and that is free, or not the one that is
     *     named
     */
    public static GpuClaim take() {
        Driver driver = DriverProbe.look(PATIENCE);
        driver.problem().ifPresent(problem -> {
            throw new CudaException(0, "device cuda: " + problem);
        });
        Path locks = Path.of(System.getProperty("java.io.tmpdir"));
        return take(driver.gpus(), System.getProperty(CHOICE, ""), locks, OWNERS_END);
    }

    /**
     * Takes one of these. Those that the kernels do not run on are passed over.
     *
     * @param choice ordinal, or beginning of a UUID; blank for the first that is free
     * @param directory of the locks
     * @param patience how long to wait for one where others have all
     */
    static GpuClaim take(List<Gpu> gpus, String choice, Path directory, Duration patience) {
        List<Gpu> named = gpus.stream()
                .filter(gpu -> choice.isBlank()
                        || choice.equals(String.valueOf(gpu.ordinal()))
                        || choice.length() > 3 && gpu.uuid().startsWith(choice))
                .toList();
        if (named.isEmpty()) {
            throw new CudaException(
                    0,
                    "no GPU '" + choice + "'; the driver shows "
                            + gpus.stream()
                                    .map(g -> g.ordinal() + " (" + g.uuid() + ")")
                                    .toList());
        }
        List<Gpu> candidates =
                named.stream().filter(gpu -> gpu.unfit().isEmpty()).toList();
        String unfit = named.stream().flatMap(gpu -> gpu.unfit().stream()).collect(Collectors.joining("; "));
        if (candidates.isEmpty()) {
            throw new CudaException(0, unfit);
        }
        long deadline = System.nanoTime() + patience.toNanos();
        while (true) {
            List<String> owners = new ArrayList<>();
            Optional<GpuClaim> claim = free(candidates, directory, owners);
            if (claim.isPresent()) {
                return claim.get();
            }
            if (System.nanoTime() >= deadline || Thread.currentThread().isInterrupted()) {
                throw new CudaException(
                        0,
                        (candidates.size() == 1
                                        ? "GPU " + candidates.get(0).ordinal()
                                                + " is in use by another worker, process " + owners.get(0)
                                        : "each of the " + candidates.size()
                                                + " GPUs is in use by another worker, processes "
                                                + String.join(", ", owners) + ": one worker a GPU")
                                + (unfit.isEmpty() ? "" : "; " + unfit));
            }
            LockSupport.parkNanos(LOOK_MILLIS * 1_000_000);
        }
    }

    /** The first that nobody has. */
    private static Optional<GpuClaim> free(List<Gpu> candidates, Path directory, List<String> owners) {
        for (Gpu gpu : candidates) {
            Path file = directory.resolve("shardloom-" + gpu.uuid() + ".lock");
            try {
                FileChannel channel = open(file);
                if (isTaken(channel)) {
                    owners.add(owner(channel));
                    channel.close();
                } else {
                    channel.truncate(0);
                    channel.write(ByteBuffer.wrap(
                            String.valueOf(ProcessHandle.current().pid()).getBytes(StandardCharsets.UTF_8)));
                    return Optional.of(new GpuClaim(gpu, channel));
                }
            } catch (AccessDeniedException e) {
                owners.add("of another user (" + file + ")");
            } catch (IOException e) {
                throw new UncheckedIOException("cannot lock GPU " + gpu.ordinal() + " through " + file, e);
            }
        }
        return Optional.empty();
    }

    /** Made once and left there, for workers of all users. */
    private static FileChannel open(Path file) throws IOException {
        if (!Files.exists(file)) {
            try {
                Files.createFile(file);
                Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-rw-rw-"));
            } catch (FileAlreadyExistsException e) {
                LoggerFactory.getLogger(GpuClaim.class).debug("another worker was faster: {}", file);
            }
        }
        return FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE);
    }

    private static boolean isTaken(FileChannel channel) throws IOException {
        try {
            return channel.tryLock() == null;
        } catch (OverlappingFileLockException e) {
            return true;
        }
    }

    private static String owner(FileChannel channel) throws IOException {
        ByteBuffer text = ByteBuffer.allocate(LONGEST_OWNER);
        channel.read(text, 0);
        return new String(text.array(), 0, text.position(), StandardCharsets.UTF_8).strip();
    }

    /** The GPU, with its ordinal. */
    public Gpu gpu() {
        return gpu;
    }

    /** Leaves the GPU to others. */
    @Override
    public void close() {
        try {
            lock.close();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
