package org.shardloom.protocol.config;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class JobChecksTest {

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "train: {epochs: 1, max_steps: 5}|train.epochs and train.max_steps are both set; keep one of them",
                "train: {schedule: {warmup_steps: 5, warmup_ratio: 0.1}}|train.schedule.warmup_steps and train.schedule.warmup_ratio are both set; keep one of them",
                "train: {micro_batch_size: 3, global_batch_size: 8}|train.global_batch_size (8) must be a multiple of train.micro_batch_size (3)",
                "zero: {stage: 2, offload_params: true}|zero.offload_params needs zero.stage: 3",
                "zero: {offload_optimizer: false, offload_params: true}|zero.offload_params needs zero.offload_optimizer: true, since parameters are updated where the optimizer is",
                "evaluation: {every_steps: 5}|evaluation.every_steps needs data.eval, a file of evaluation samples",
                "checkpoint: {keep_best: 1}|checkpoint.keep_best needs evaluation.every_steps above 0, to know which are best",
                "cluster: {min_workers: 2}|cluster.min_workers (2) must not exceed workers (1)",
                "cluster: {heartbeat_seconds: 6}|cluster.lost_after_seconds (10.0) must be at least twice cluster.heartbeat_seconds (6.0)"
            })
    void contradictionsAreRefusedWithTheLineToChange(String line, String problem) {
        assertEquals("job.yaml:5: " + problem, Jobs.refusedWith(line));
    }

    @Test
    void aPromptLongerThanTheSequenceIsRefused() {
        assertEquals(
                "--set data.max_source_length=2000: data.max_source_length (2000) must not exceed data.max_length (1560)",
                Jobs.refusedWith("", "data.max_source_length=2000"));
    }

    @Test
    void quantisationIsForLowRankAdaptersOnly() {
        assertEquals(
                "job.yaml:5: unknown key 'method.quantization' (method 'full' has no options)",
                Jobs.refusedWith("method: {type: full, quantization: nf4}"));
        assertEquals(
                "job.yaml:5: method.quantization must be nf4 or none, not \"int8\"",
                Jobs.refusedWith("method: {type: qlora, quantization: int8}"));
    }

    @Test
    void optionsOfAMethodAreChecked() {
        assertEquals(
                "job.yaml:5: unknown key 'method.rnak' - did you mean 'method.rank'? (method 'lora' has alpha, bias, dropout, rank, targets)",
                Jobs.refusedWith("method: {type: lora, rnak: 8}"));
        assertEquals(
                "job.yaml:5: method.rank must be an integer from 1 to 16384, not 0",
                Jobs.refusedWith("method: {type: lora, rank: 0}"));
        assertEquals(
                "job.yaml:5: method.dropout must be a number from 0 to below 1, not 1",
                Jobs.refusedWith("method: {type: lora, dropout: 1}"));
        assertEquals(
                "job.yaml:5: method.alpha must be a number above 0, not 0",
                Jobs.refusedWith("method: {type: lora, alpha: 0}"));
        assertEquals(
                "--set model.init=random: model.init: random needs method.type: full; with 'lora' most of the model would stay random"
                        + " for ever",
                Jobs.refusedWith("", "model.init=random", "method.type=lora"));
        assertEquals(
                "job.yaml:5: method.targets must be a list of texts, not [1]",
                Jobs.refusedWith("method: {type: lora, targets: [1]}"));
        assertEquals(
                "job.yaml:5: method 'freeze' needs train, a list of name patterns, or last_layers, to know what is trained",
                Jobs.refusedWith("method: {type: freeze}"));
        assertEquals(
                "job.yaml:5: method.projection must be true or false, not \"yes\"",
                Jobs.refusedWith("method: {type: p_tuning_v2, projection: yes}"));
    }

    @ParameterizedTest
    @CsvSource({"lora, all, '\"all\"'", "qlora, lora_only, '\"lora_only\"'", "lora, true, true"})
    void trainedBiasesAreRefused(String type, String bias, String shown) {
        assertEquals(
                "job.yaml:5: method.bias: only none is supported (the model's biases stay as they are), not " + shown,
                Jobs.refusedWith("method: {type: " + type + ", bias: " + bias + "}"));
    }

    @Test
    void onlyAdaptersHaveBiasAsAnOption() {
        assertEquals(
                "job.yaml:5: unknown key 'method.bias' (method 'p_tuning' has virtual_tokens)",
                Jobs.refusedWith("method: {type: p_tuning, bias: none}"));
    }

    @Test
    void optionsOfAMethodAreRead() {
        assertEquals(
                new TuningMethod.Lora(8, 16, 0, List.of("attention")),
                Jobs.with("method: {type: lora}").method().tuning());
        assertEquals(
                new TuningMethod.Lora(4, 32, 0.1, List.of("query_key_value", "dense")),
                Jobs.with("method: {type: lora, rank: 4, alpha: 32, dropout: 0.1, targets: [query_key_value, dense]}")
                        .method()
                        .tuning());
        TuningMethod.Lora lora = new TuningMethod.Lora(8, 16, 0, List.of("attention"));
        assertEquals(
                lora.over(TuningMethod.Quantization.NF4_DOUBLE),
                Jobs.with("method: {type: qlora}").method().tuning());
        assertEquals(
                lora.over(TuningMethod.Quantization.NF4),
                Jobs.with("method: {type: qlora, double_quantization: false}")
                        .method()
                        .tuning());
        assertEquals(
                lora,
                Jobs.with("method: {type: qlora, quantization: none}").method().tuning());
        for (String type : List.of("lora", "qlora")) {
            assertEquals(
                    Jobs.with("method: {type: " + type + "}").method().tuning(),
                    Jobs.with("method: {type: " + type + ", bias: none}")
                            .method()
                            .tuning());
        }
        assertEquals(
                new TuningMethod.PTuning(7),
                Jobs.with("method: {type: p_tuning, virtual_tokens: 7}")
                        .method()
                        .tuning());
        assertEquals(
                new TuningMethod.Freeze(List.of("layers.27."), 2),
                Jobs.with("method: {type: freeze, train: layers.27., last_layers: 2}")
                        .method()
                        .tuning());
        assertEquals(
                new TuningMethod.PTuningV2(128, true),
                Jobs.with("method: {type: p_tuning_v2, projection: true}")
                        .method()
                        .tuning());
    }

    @Test
    void anAdapterToStartFromNeedsAMethodThatHasOne() {
        assertEquals(
                "--set model.adapter=/a: model.adapter needs a method that adds something to the model, such as method.type: lora",
                Jobs.refusedWith("", "model.adapter=/a"));
    }

    @Test
    void fullParameterTuningTakesNoOptions() {
        assertEquals(
                "job.yaml:6: unknown key 'method.tpye' - did you mean 'method.type'? (method 'full' has no options)",
                Jobs.refusedWith("method:\n  tpye: lora\n"));
    }

    @Test
    void aRuleOnAnUnreadableValueIsPassedOver() {
        assertEquals(
                "job.yaml:5: train.global_batch_size: expected a positive integer, found 'many'",
                Jobs.refusedWith("train: {micro_batch_size: 3, global_batch_size: many}"));
    }
}
