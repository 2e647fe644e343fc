package org.shardloom.deploy.cli;

import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.NoSuchFileException;
import org.shardloom.deploy.launch.Run.RunException;
import org.shardloom.protocol.config.JobConfigException;
import org.slf4j.LoggerFactory;

/** How failures are told to people: one clear text, no stack trace unless it is a fault of the program. */
final class Failures {
    private Failures() {}

    static boolean isUsage(Exception e) {
        return e instanceof JobConfigException || e instanceof UsageException;
    }

    static String describe(Exception e) {
        if (e instanceof NoSuchFileException) {
            return "no such file or directory: " + e.getMessage();
        }
        if (e instanceof AccessDeniedException) {
            return "permission denied: " + e.getMessage();
        }
        if (e instanceof FileAlreadyExistsException) {
            return "exists and is not a directory: " + e.getMessage();
        }
        if (isUsage(e) || e instanceof RunException || e instanceof java.io.IOException || e.getMessage() != null) {
            LoggerFactory.getLogger(Failures.class).debug("failed", e);
            return e.getMessage();
        }
        LoggerFactory.getLogger(Failures.class).error("failed", e);
        return e.toString();
    }

    /** Something is wrong with what the user asked for. */
    static final class UsageException extends RuntimeException {
        UsageException(String message) {
            super(message);
        }
    }
}
