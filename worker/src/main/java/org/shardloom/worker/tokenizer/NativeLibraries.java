package org.shardloom.worker.tokenizer;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Tells DJL, before its first class loads, to stay off the network and out of the user's home.
 *
 * <p>DJL unpacks its native libraries into a cache: to a temporary name first, then by an atomic rename, so that several
 * processes may start at once. Because code is loaded from there, the cache must belong to this user alone. What the
 * user has set (the environment variables or properties of the same names) stays.
 */
final class NativeLibraries {
    /** The system property that names the cache; the default is a private directory in {@code java.io.tmpdir}. */
    static final String CACHE_PROPERTY = "shardloom.native.cache";

    private static final Logger LOG = LoggerFactory.getLogger(NativeLibraries.class);
    private static final String ENGINE_CACHE = "ENGINE_CACHE_DIR";
    private static final String DJL_CACHE = "DJL_CACHE_DIR";
    private static boolean ready;

    private NativeLibraries() {}

    /** Idempotent. Call before any use of a DJL class. */
    static synchronized void configure() {
        if (ready) {
            return;
        }
        System.setProperty("OPT_OUT_TRACKING", "true");
        System.setProperty("ai.djl.offline", "true");
        String engineCache = given(ENGINE_CACHE);
        String djlCache = given(DJL_CACHE);
        if (engineCache == null && djlCache == null) {
            engineCache = cacheDirectory().toString();
        }
        String cache = engineCache == null ? djlCache : engineCache;
        setIfAbsent(ENGINE_CACHE, cache);
        setIfAbsent(DJL_CACHE, cache);
        if (System.getProperty("jna.tmpdir") == null) {
            System.setProperty("jna.tmpdir", cache);
        }
        ready = true;
    }

    /** The cache directory, made if it is missing. */
    static Path cacheDirectory() {
        String given = System.getProperty(CACHE_PROPERTY);
        try {
            if (given != null && !given.isBlank()) {
                return Files.createDirectories(Path.of(given)).toAbsolutePath();
            }
            String user = System.getProperty("user.name", "user").replaceAll("[^A-Za-z0-9_-]", "_");
            return privateDirectory(Path.of(System.getProperty("java.io.tmpdir"), "shardloom-native-" + user));
        } catch (IOException e) {
            throw new TokenizerException(
                    "no directory for native libraries: " + e + "; set -D" + CACHE_PROPERTY
                            + "=DIR to a directory that can be written",
                    e);
        }
    }

    /**
     * Returns {@code wanted} if it is, or can become, a directory that only this user can write, else a fresh one.
     */
    static Path privateDirectory(Path wanted) throws IOException {
        var ownerOnly = PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------"));
        try {
            return Files.createDirectory(wanted, ownerOnly).toAbsolutePath();
        } catch (FileAlreadyExistsException e) {
            // Made by an earlier process of this user, or by somebody else: look closer.
        }
        Path fresh = Files.createTempDirectory(wanted.toAbsolutePath().getParent(), "shardloom-native-", ownerOnly);
        if (isPrivate(wanted, fresh)) {
            Files.delete(fresh);
            return wanted.toAbsolutePath();
        }
        LOG.warn("{} is not a private directory of this user; native libraries go to {} for this run", wanted, fresh);
        return fresh;
    }

    private static boolean isPrivate(Path wanted, Path own) throws IOException {
        if (!Files.isDirectory(wanted, LinkOption.NOFOLLOW_LINKS)) {
            return false;
        }
        Set<PosixFilePermission> permissions = Files.getPosixFilePermissions(wanted, LinkOption.NOFOLLOW_LINKS);
        return Files.getOwner(wanted, LinkOption.NOFOLLOW_LINKS).equals(Files.getOwner(own))
                && !permissions.contains(PosixFilePermission.GROUP_WRITE)
                && !permissions.contains(PosixFilePermission.OTHERS_WRITE);
    }

    private static String given(String name) {
        String value = System.getenv(name);
        return value != null && !value.isEmpty() ? value : System.getProperty(name);
    }

    private static void setIfAbsent(String name, String value) {
        if (System.getProperty(name) == null) {
            System.setProperty(name, value);
        }
    }
}
