package org.shardloom.protocol.config;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.function.BiConsumer;

/** Settings that the job file has a place for but this version cannot carry out: refused, never passed over in silence. */
final class AvailableFeatures {
    private AvailableFeatures() {}

    /** Reports each such setting of the job. */
    static void check(JobConfig job, BiConsumer<Key<?>, String> problem) {
        if (job.zero().offloadParams() && job.device() == DeviceChoice.CPU) {
            problem.accept(
                    JobKeys.OFFLOAD_PARAMS,
                    "zero.offload_params keeps parameters out of a GPU's memory; with device cpu leave it false");
        }
        if (!job.cluster().insecure() && !isLoopback(job.cluster().host())) {
            problem.accept(
                    JobKeys.HOST,
                    "listening on " + job.cluster().host()
                            + " lets other hosts reach the run without TLS; set cluster.insecure: true if the network is trusted");
        }
    }

    private static boolean isLoopback(String host) {
        try {
            return InetAddress.getByName(host).isLoopbackAddress();
        } catch (UnknownHostException e) {
            return false;
        }
    }
}
