package org.shardloom.deploy.bench;

import java.util.List;
import java.util.Map;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.plan.Gpus;

/** What kernels cannot do without, and the time below which they cannot be on a card: from sizes and rates alone. */
final class KernelFloors {
    /** The card where none is named. */
    static final String CARD = "h100-80gb";

    private KernelFloors() {}

    /** A row for each kernel of each operation, of one launch. */
    static Report of(String card, List<String> configs, List<DecoderConfig> models, int tokens, DType dtype) {
        Gpus.Card peak = Gpus.card(card == null ? CARD : card).orElseThrow();
        KernelCosts.Rates rates = BenchGpu.rates(peak);
        Report report = new Report("kernel floors")
                .fact("card", peak.key())
                .fact("memory_bytes_per_second", rates.bytes())
                .fact("fp32_gflops_per_second", rates.vectorOperations() / 1e9)
                .fact("tensor_core_gflops_per_second", rates.matrixOperations() / 1e9)
                .fact("tokens", tokens)
                .fact("precision", BenchModel.nameOf(dtype));
        for (int m = 0; m < models.size(); m++) {
            for (KernelCase c : KernelCases.of(null, models.get(m), tokens, dtype)) {
                for (Map.Entry<KernelCosts, KernelCosts.Cost> kernel : c.costs().entrySet()) {
                    report.row(row(configs.get(m), c.name(), kernel.getKey(), kernel.getValue(), rates));
                }
            }
        }
        return report;
    }

    private static Map<String, Object> row(
            String config, String operation, KernelCosts family, KernelCosts.Cost cost, KernelCosts.Rates rates) {
        return Report.rowOf(
                "config",
                config,
                "operation",
                operation,
                "kernel",
                family.prefix().replaceAll("_$", ""),
                "bytes",
                Math.round(cost.bytes()),
                "operations",
                Math.round(cost.operations()),
                "floor_micros",
                cost.floorMicros(rates),
                "bound_by",
                cost.boundByMemory(rates) ? "memory" : "arithmetic");
    }
}
