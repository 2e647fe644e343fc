package org.shardloom.worker.plan;

import java.util.Map;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.plan.Work;

/**
 * What a rank needs, in bytes.
 *
 * @param rank from 0
 * @param devicePeakBytes largest sum of what is allocated on the device at once
 * @param devicePeakByPurpose what that sum is made of
 * @param devicePeakByPhase largest sum while each phase of a step lasts
 * @param pinnedHostBytes page-locked host memory: optimizer state, sums of gradients, parameters that are kept there
 * @param laterAllocations bytes by which the peak of a second step exceeds the first's
 * @param work of one step
 */
public record RankPlan(
        int rank,
        long devicePeakBytes,
        Map<Purpose, Long> devicePeakByPurpose,
        Map<String, Long> devicePeakByPhase,
        long pinnedHostBytes,
        long laterAllocations,
        Work work) {
    /** The same of another rank. */
    RankPlan ofRank(int other) {
        return new RankPlan(
                other,
                devicePeakBytes,
                devicePeakByPurpose,
                devicePeakByPhase,
                pinnedHostBytes,
                laterAllocations,
                work);
    }
}
