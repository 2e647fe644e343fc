package org.shardloom.deploy.launch;

import java.util.Map;

/** Variables of a process that computes: they must be there before the native libraries are loaded. */
public final class ComputeEnvironment {
    private ComputeEnvironment() {}

    /**
     * Completes an environment; what the user has set stays, but for threads that wait awake where there are more threads than processors.
     *
     * @param processes that compute on this host
     * @param threads of each; 0 when the processors are divided among them
     */
    public static void complete(Map<String, String> environment, int processes, int threads) {
        environment.putIfAbsent("OMP_WAIT_POLICY", "PASSIVE");
        environment.putIfAbsent("MALLOC_ARENA_MAX", "2");
        if ((long) processes * Math.max(1, threads) > Runtime.getRuntime().availableProcessors()) {
            environment.put("GOMP_SPINCOUNT", "0");
        }
    }
}
