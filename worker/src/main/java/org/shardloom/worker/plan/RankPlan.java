package org.shardloom.worker.plan;

import java.util.Map;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.plan.Work;

/**
 * What a rank needs, in bytes.
 *
 * @param rank from 0
 * @param devicePeakBytes what the device is asked for at most: what is in use at once, and what lies between and is kept for later
 * @param devicePeakByPurpose what the largest sum of what is in use at once is made of
 * @param devicePeakByPhase largest sum in use while each phase of a step lasts
 * @param pinnedHostBytes page-locked host memory: optimizer state, sums of gradients, parameters that are kept there, room for small copies
 *     and sums
 * @param passingBytes of the device's: the range for what comes and goes within steps, to be reserved
 * @param laterAllocations segments that the device is asked for in a second step
 * @param work of one step
 */
public record RankPlan(
        int rank,
        long devicePeakBytes,
        Map<Purpose, Long> devicePeakByPurpose,
        Map<String, Long> devicePeakByPhase,
        long pinnedHostBytes,
        long passingBytes,
        long laterAllocations,
        Work work) {
    /** Of the peak, what lies between blocks in use and is kept for later ones. */
    public long unusedBytes() {
        return devicePeakBytes
                - devicePeakByPurpose.values().stream()
                        .mapToLong(Long::longValue)
                        .sum();
    }

    /** The same of another rank. */
    RankPlan ofRank(int other) {
        return new RankPlan(
                other,
                devicePeakBytes,
                devicePeakByPurpose,
                devicePeakByPhase,
                pinnedHostBytes,
                passingBytes,
                laterAllocations,
                work);
    }
}
