package org.shardloom.worker.zero;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.collective.LocalCollectives;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.TrainedSummary;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.weights.SharedFixtures;

/** The bytes of trained state that a run reports are those that its engine allocates, and those of the method's formula. */
@Timeout(60)
class TrainedStateTest {
    private static final Pattern REPORTED = Pattern.compile("([\\d,]+) bytes of master weights");

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{type: full}",
                "{type: freeze, last_layers: 1}",
                "{type: lora, rank: 4, targets: attention}",
                "{type: lora, rank: 8, targets: all}",
                "{type: qlora, rank: 4, targets: all}",
                "{type: qlora, rank: 4, targets: all, double_quantization: false}",
                "{type: p_tuning, virtual_tokens: 5}",
                "{type: p_tuning_v2, prefix_length: 6}",
                "{type: p_tuning_v2, prefix_length: 6, projection: true}"
            })
    void whatIsReportedIsWhatIsAllocated(String method) {
        JobConfig job = JobFile.parse(
                        "model: {path: /none}\ndata: {train: /none.jsonl}\noutput_dir: /none\nmethod: " + method + "\n",
                        "job.yaml",
                        List.of())
                .config();
        DecoderConfig config = ModelConfigReader.read(SharedFixtures.tinyChatglm3());
        TunedModel model = Tuning.of(config, job.method().tuning());
        long reported = TrainedSummary.lines(model).stream()
                .map(REPORTED::matcher)
                .filter(Matcher::find)
                .mapToLong(m -> Long.parseLong(m.group(1).replace(",", "")))
                .findFirst()
                .orElseThrow();
        EngineConfig engineConfig = new EngineConfig(DType.BF16, 3, true, TinyModel.ADAMW, 1.0, 128);
        try (SplitDevice device = new SplitDevice();
                ZeroEngine engine = new ZeroEngine(model, engineConfig, device, new LocalCollectives())) {
            Map<Purpose, Long> host = device.hostStatistics().currentByPurpose();
            long padding = 0;
            long staying = 0; // gradients that are added on the device
            for (int u = 0; u < engine.units().size(); u++) {
                UnitSpec unit = engine.units().get(u);
                padding += engine.plan().sliceElements(u) - unit.parameterCount();
                staying += engine.gradientStays(u) ? 4 * engine.plan().sliceElements(u) : 0;
            }
            long held = host.get(Purpose.OPTIMIZER) + host.get(Purpose.GRADIENTS) + staying;
            assertEquals(reported + 16 * padding, held, method);
            assertTrue(padding < 64L * 40, "padding between parameters: " + padding);
        }
        assertEquals(16 * byFormula(job.method().tuning(), config), reported, method);
    }

    /** Trained parameters as papers and original code count them. */
    private static long byFormula(TuningMethod method, DecoderConfig c) {
        long hidden = c.hidden();
        long layers = c.layers();
        long attention = (long) c.attention().heads() * c.attention().headSize();
        long keysValues = 2L * c.attention().groups() * c.attention().headSize();
        long mixed = attention + keysValues;
        long inner = c.feedForward();
        long layer = 2 * hidden + hidden * mixed + mixed + attention * hidden + hidden * 2 * inner + inner * hidden;
        if (method instanceof TuningMethod.Lora lora) {
            long inAndOut = hidden + mixed + attention + hidden;
            if (lora.targets().equals(List.of("all"))) {
                inAndOut += hidden + 2 * inner + inner + hidden;
            }
            return layers * lora.rank() * inAndOut;
        }
        if (method instanceof TuningMethod.PTuningV2 prefix) {
            long width = layers * keysValues;
            // Two maps with biases: from the width to the hidden size, and back.
            long maps = prefix.projection() ? width * hidden + hidden + hidden * width + width : 0;
            return prefix.prefixLength() * width + maps;
        }
        if (method instanceof TuningMethod.PTuning tokens) {
            return tokens.tokens() * hidden;
        }
        return method instanceof TuningMethod.Freeze ? layer : layers * layer + 2 * c.vocabulary() * hidden + hidden;
    }
}
