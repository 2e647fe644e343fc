package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import org.junit.jupiter.api.Test;
import org.shardloom.deploy.launch.Run.RunException;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.protocol.config.TuningMethod;
import org.shardloom.protocol.config.TuningMethod.Quantization;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.MemoryNeed;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.tuning.Tuning;

/** What is refused before a model is loaded, and what is said then, for ChatGLM3-6B on paper. */
class MemoryCheckTest {
    private static final long GB = 1_000_000_000;
    private static final String SMALLER = "a smaller --max-new-tokens";

    private final DecoderConfig config = ModelConfigReader.parse(
            """
            {"model_type": "chatglm", "multi_query_attention": true, "multi_query_group_num": 2, "add_qkv_bias": true,
             "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32, "kv_channels": 128, "ffn_hidden_size": 13696,
             "padded_vocab_size": 65024, "seq_length": 8192, "layernorm_epsilon": 1e-5, "rmsnorm": true}
            """,
            java.nio.file.Path.of("config.json"));

    private MemoryCheck check(TunedModel model, OptionalLong gpu, long host, long swap) {
        List<int[]> prompts = java.util.Collections.nCopies(100, new int[512]);
        return new MemoryCheck(
                (dtype, processors) -> MemoryNeed.of(model, dtype, processors, 4096, paper -> new Generator(
                                paper, 65024, java.util.Set.of(), SamplingOptions.GREEDY)
                        .rehearse(prompts, 128)),
                gpu,
                host,
                swap);
    }

    private String refused(OptionalLong gpu, long host, DType dtype) {
        String message = assertThrows(RunException.class, () -> check(TunedModel.full(config), gpu, host, 0)
                        .require(dtype, SMALLER))
                .getMessage();
        assertEquals(1, message.lines().count());
        return message;
    }

    @Test
    void processorsWithTooLittleMemoryAreToldWhatHelps() throws Exception {
        String message = refused(OptionalLong.empty(), 20 * GB, DType.F32);
        assertTrue(
                message.matches(
                        "the model needs 2[5-7]\\.\\d GB of host memory in fp32 \\(25\\.0 GB for its parameters, "
                                + "\\d\\.\\d GB for keys, values and activations\\), and 20\\.0 GB are available: "
                                + "use --dtype bf16, which needs 1[34]\\.\\d GB"),
                message);
        message = refused(OptionalLong.empty(), 12_600_000_000L, DType.BF16);
        assertTrue(
                message.endsWith("and 12.6 GB are available: use " + SMALLER
                        + ", or --device cuda where a GPU has as much, or free some memory"),
                message);
        message = refused(OptionalLong.empty(), 8 * GB, DType.BF16);
        assertTrue(message.endsWith(
                "8.0 GB are available: use --device cuda where a GPU has as much, or free some memory"));
        message = refused(OptionalLong.empty(), 8 * GB, DType.F32);
        assertTrue(message.contains("use --dtype bf16 and --device cuda"), message);
    }

    @Test
    void aSmallGpuIsToldOfTheProcessors() {
        String message = refused(OptionalLong.of(8 * GB), 64 * GB, DType.F16);
        assertTrue(message.contains("of the GPU's memory in fp16 (12.5 GB for its parameters"), message);
        assertTrue(message.contains("and 8.0 GB are free: use --device cpu, which needs 1"), message);
        message = refused(OptionalLong.of(8 * GB), 20 * GB, DType.F32);
        assertTrue(message.contains("use --device cpu --dtype bf16, which needs 1"), message);
        message = refused(OptionalLong.of(8 * GB), GB, DType.F16);
        assertTrue(message.endsWith("are free: use a GPU with more memory, or free some memory"), message);
    }

    @Test
    void whatFitsIsNotRefusedAndWhatSwapsIsSaid() throws Exception {
        TunedModel model = TunedModel.full(config);
        for (OptionalLong gpu : List.of(OptionalLong.empty(), OptionalLong.of(16 * GB))) {
            assertEquals(Optional.empty(), check(model, gpu, 16 * GB, 0).require(DType.BF16, SMALLER));
        }
        String warning = check(model, OptionalLong.empty(), 12 * GB, 8 * GB)
                .require(DType.BF16, SMALLER)
                .orElseThrow();
        assertTrue(warning.contains("it will swap"), warning);
        assertEquals(
                Optional.empty(),
                check(model, OptionalLong.empty(), Long.MAX_VALUE, 0).require(DType.F32, SMALLER),
                "where nobody knows what there is");
    }

    /** 5.7 billion of 6.2 are in NF4; the rest, a layer in 16 bits and the adapters come to it. */
    @Test
    void aBaseInNf4FitsIntoAThird() throws Exception {
        TunedModel qlora =
                Tuning.of(config, new TuningMethod.Lora(8, 16, 0, List.of("all")).over(Quantization.NF4_DOUBLE));
        MemoryNeed need = check(qlora, OptionalLong.empty(), 0, 0).needs().of(DType.BF16, true);
        assertTrue(need.parameters() > 3 * GB && need.parameters() < 4_500_000_000L, need.toString());
        assertEquals(
                Optional.empty(), check(qlora, OptionalLong.of(8 * GB), 0, 0).require(DType.BF16, SMALLER));
    }
}
