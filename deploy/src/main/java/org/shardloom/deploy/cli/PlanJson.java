package org.shardloom.deploy.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.shardloom.worker.plan.Advice;
import org.shardloom.worker.plan.Fit;
import org.shardloom.worker.plan.HostFit;
import org.shardloom.worker.plan.RankPlan;

/** A plan as programs read it. */
final class PlanJson {
    private PlanJson() {}

    /**
     * The object.
     *
     * @param change that would let the job fit
     * @param choices null where none were searched
     */
    static String of(Fit fit, Optional<Advice.Choice> change, List<Advice.Choice> choices)
            throws JsonProcessingException {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("fits", fit.fits());
        all.put("gpu_memory_bytes", fit.gpus().memoryBytes());
        all.put("reserved_bytes", Fit.RESERVED);
        all.put("parameters", fit.plan().parameters());
        all.put("trained_parameters", fit.plan().trainedParameters());
        all.put("ranks", fit.plan().ranks().stream().map(PlanJson::rank).toList());
        all.put("pinned_host_bytes", fit.plan().hostBytes());
        all.put("host_peak_bytes", fit.plan().hostBytes() + fit.job().workers() * HostFit.PAGEABLE);
        all.put("checkpoint_bytes", fit.plan().checkpointBytes());
        all.put("retained_checkpoints_bytes", fit.plan().retainedBytes());
        all.put("final_bytes", fit.plan().finalBytes());
        all.put(
                "communication_bytes_per_step",
                fit.plan().ranks().stream().mapToLong(r -> r.work().sentBytes()).sum());
        all.put("step_seconds_estimate", fit.estimate().seconds());
        all.put("estimated_for", fit.gpus().card().key());
        change.ifPresent(c -> all.put("smallest_change", c.overrides()));
        if (choices != null) {
            List<Map<String, Object>> found = new ArrayList<>();
            for (Advice.Choice c : choices) {
                Map<String, Object> one = new LinkedHashMap<>();
                one.put("set", c.overrides());
                one.put("device_peak_bytes", c.fit().plan().devicePeakBytes());
                one.put("step_seconds_estimate", c.fit().estimate().seconds());
                found.add(one);
            }
            all.put("suggestions", found);
        }
        return new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT).writeValueAsString(all);
    }

    private static Map<String, Object> rank(RankPlan rank) {
        Map<String, Object> one = new LinkedHashMap<>();
        one.put("rank", rank.rank());
        one.put("device_peak_bytes", rank.devicePeakBytes());
        Map<String, Long> purposes = new LinkedHashMap<>();
        rank.devicePeakByPurpose()
                .forEach((purpose, bytes) -> purposes.put(purpose.name().toLowerCase(Locale.ROOT), bytes));
        purposes.put("unused", rank.unusedBytes());
        one.put("device_peak_by_purpose", purposes);
        one.put("device_peak_by_phase", rank.devicePeakByPhase());
        one.put("pinned_host_bytes", rank.pinnedHostBytes());
        one.put("pageable_host_bytes", HostFit.PAGEABLE);
        one.put("host_peak_bytes", rank.pinnedHostBytes() + HostFit.PAGEABLE);
        one.put("communication_bytes_per_step", rank.work().sentBytes());
        return one;
    }
}
