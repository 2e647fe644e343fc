package org.shardloom.worker.zero;

import org.shardloom.kernels.device.Device;

/**
 * Where a rank keeps what it owns. A device that shares the host's memory has one place only; on others what is on the host is page-locked.
 *
 * @param optimizerOnHost master weights, moments and the sums of gradients: the host's processor updates them
 * @param parametersOnHost slices of the parameters, copied to the device when their unit is gathered
 */
public record Placement(boolean optimizerOnHost, boolean parametersOnHost) {
    /** The optimizer on the host, parameters on the device. */
    public static final Placement OFFLOADED_OPTIMIZER = new Placement(true, false);

    /** Whether gradients are brought to the host when they have been reduced. */
    boolean stagesGradients(Device device) {
        return optimizerOnHost && !device.sharesHostMemory();
    }

    boolean stagesParameters(Device device) {
        return parametersOnHost && !device.sharesHostMemory();
    }
}
