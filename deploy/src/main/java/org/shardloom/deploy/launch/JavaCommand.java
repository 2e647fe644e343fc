package org.shardloom.deploy.launch;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The command line that runs this program again in a process of its own. */
public final class JavaCommand {
    private JavaCommand() {}

    /** {@code java … Main subcommand}, with the options that suit a worker: a small heap, few threads, quick start. */
    public static List<String> of(String subcommand) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of(
                "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss1m", "-Xms32m", "-Xmx1g", "-XX:-UsePerfData"));
        command.addAll(List.of("--add-opens=java.base/jdk.internal.misc=ALL-UNNAMED"));
        String archive = System.getProperty("shardloom.archive");
        if (archive != null && Files.exists(Path.of(archive))) {
            command.addAll(List.of("-XX:SharedArchiveFile=" + archive, "-Xlog:cds=off", "-Xlog:cds+dynamic=off"));
        }
        for (String key : List.of(
                "org.bytedeco.javacpp.cachedir",
                "shardloom.native.cache",
                "java.io.tmpdir",
                "shardloom.home",
                "shardloom.archive")) {
            if (System.getProperty(key) != null) {
                command.add("-D" + key + "=" + System.getProperty(key));
            }
        }
        String more = System.getenv("SHARDLOOM_WORKER_JAVA_OPTS");
        if (more != null && !more.isBlank()) {
            command.addAll(Arrays.asList(more.trim().split("\\s+")));
        }
        command.addAll(
                List.of("-cp", System.getProperty("java.class.path"), "org.shardloom.deploy.cli.Main", subcommand));
        return command;
    }
}
