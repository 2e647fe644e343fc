package org.shardloom.deploy.doctor;

import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.cuda.probe.Gpu;

/** Each GPU's kind: the kernels need compute capability 8.0. */
final class DevicesCheck implements Check {
    @Override
    public List<Finding> look(Situation situation) {
        List<Finding> findings = new ArrayList<>();
        List<Gpu> used = situation.used();
        for (Gpu gpu : situation.working().map(g -> g.driver().gpus()).orElse(List.of())) {
            boolean passedOver = gpu.unfit().isPresent() && !used.contains(gpu);
            if (!used.contains(gpu) && !passedOver) {
                continue;
            }
            String found = "GPU " + gpu.ordinal() + " (" + gpu.name() + ", " + gpu.uuid() + "): compute capability "
                    + gpu.major() + "." + gpu.minor() + ", " + Bytes.text(gpu.totalBytes());
            if (passedOver) {
                findings.add(Finding.ok("devices", found + "; the kernels need 8.0: workers pass it over"));
            } else if (gpu.unfit().isPresent()) {
                String why = found + "; the kernels need 8.0, which has bf16";
                String advice = "choose other GPUs with CUDA_VISIBLE_DEVICES, or set device: cpu";
                findings.add(
                        situation.gpusWanted()
                                ? Finding.error("devices", why, advice)
                                : Finding.warning("devices", why, advice));
            } else if (gpu.major() > 9) {
                findings.add(Finding.warning(
                        "devices",
                        found + "; NVRTC of CUDA 12.6 and older does not compile for it",
                        "see that libnvrtc.so.12 is of CUDA 12.8 or newer"));
            } else {
                findings.add(Finding.ok("devices", found));
            }
        }
        return findings;
    }
}
