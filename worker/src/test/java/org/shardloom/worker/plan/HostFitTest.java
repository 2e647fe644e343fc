package org.shardloom.worker.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.weights.SharedFixtures;

/** ChatGLM3-6B by workers on processors of one host. */
@Timeout(60)
class HostFitTest {
    private static final Path DIRECTORY = SharedFixtures.shared("facts/models/chatglm3-6b");
    private static final DecoderConfig MODEL = ModelConfigReader.read(DIRECTORY);
    private static final long PARAMETERS = 6_243_584_000L;

    private static JobConfig job(List<String> given, List<String> more) {
        String yaml = "model: {path: " + DIRECTORY + "}\ndata: {train: /none.jsonl}\noutput_dir: /none\n"
                + "workers: 4\ntrain: {micro_batch_size: 1, global_batch_size: 4}\n";
        List<String> all = new ArrayList<>(given);
        all.addAll(more);
        return JobFile.parse(yaml, "job.yaml", all).config();
    }

    private static HostFit fit(String... given) {
        return HostFit.ofProcessors(job(List.of(given), List.of()), MODEL, 128);
    }

    /** 12 bytes of state, 4 of gradient sums and 2 of 16-bit parameters, once for all ranks under ZeRO-3 and on each under ZeRO-2. */
    @ParameterizedTest
    @ValueSource(ints = {2, 3})
    void whatRanksShareIsCountedOnce(int stage) {
        HostFit fit = fit("zero.stage=" + stage);
        long lasting = PARAMETERS * (16 + (stage == 3 ? 2 : 2 * 4));
        assertTrue(fit.bytes() > lasting, fit.bytes() + " bytes");
        assertTrue(fit.bytes() < lasting + 4 * 6e9, fit.bytes() + " bytes");
        for (RankPlan rank : fit.plan().ranks()) {
            assertEquals(0, rank.pinnedHostBytes());
            long gathered = rank.devicePeakByPurpose().get(Purpose.GATHERED);
            assertEquals(stage == 3, gathered > 0);
        }
    }

    @Test
    void longerSamplesNeedMore() {
        JobConfig job = job(List.of("gradient_checkpointing=false"), List.of());
        assertTrue(HostFit.ofProcessors(job, MODEL, 1560).bytes()
                > HostFit.ofProcessors(job, MODEL, 128).bytes() + 1_000_000_000L);
    }

    private static Optional<HostAdvice.Choice> change(long available, String... given) {
        return new HostAdvice(more -> Optional.of(job(List.of(given), more)), MODEL, 128)
                .smallestChange(job(List.of(given), List.of()), available);
    }

    @Test
    void theSmallestChangeFits() {
        String[] given = {"zero.stage=2"};
        long stage3 = fit("zero.stage=3").bytes();
        HostAdvice.Choice choice = change(stage3, given).orElseThrow();
        assertEquals(List.of("zero.stage=3"), choice.overrides());
        assertEquals(stage3, choice.fit().bytes());
        HostAdvice.Choice fewer = change(stage3 - 1, given).orElseThrow();
        assertTrue(fewer.fit().bytes() < stage3);
        assertTrue(
                fewer.overrides().stream().anyMatch(o -> o.startsWith("workers=")),
                fewer.overrides().toString());
        assertEquals(Optional.empty(), change(1L << 30, given));
    }
}
