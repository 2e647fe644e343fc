package org.shardloom.deploy.convert;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.Precision;
import org.shardloom.protocol.config.ScheduleConfig;
import org.shardloom.protocol.config.TuningMethod;

/** Settings of other tools, as their users have them, become jobs that load. */
class JobImportTest {
    private static final String SCRIPT =
            """
            MODEL=/models/chatglm3-6b
            CUDA_VISIBLE_DEVICES=0,1,2,3 deepspeed --master_port 520 train.py \\
                --train_path data/spo_0.json \\
                --model_name_or_path $MODEL \\
                --per_device_train_batch_size 1 \\
                --max_len 1560 --max_src_len 1024 \\
                --learning_rate 1e-4 --weight_decay 0.1 --num_train_epochs 2 \\
                --gradient_accumulation_steps 4 --warmup_ratio 0.1 \\
                --mode glm3 --train_type lora --lora_dim 16 --lora_alpha 64 --lora_dropout 0.1 \\
                --lora_module_name "query_key_value,dense_h_to_4h,dense_4h_to_h,dense" \\
                --seed 1234 --ds_file ds_zero2_no_offload.json --gradient_checkpointing \\
                --show_loss_step 10 --output_dir /out/glm3
            """;

    private static final String DEEPSPEED =
            """
            {"train_micro_batch_size_per_gpu": "auto", "zero_optimization": {"stage": 2, "overlap_comm": true,
             "offload_optimizer": {"device": "cpu"}}, "bf16": {"enabled": true}, "gradient_clipping": 0.5,
             "optimizer": {"type": "AdamW", "params": {"lr": "auto", "betas": [0.9, 0.95], "eps": 1e-8}}}
            """;

    private static JobConfig job(JobDraft draft) {
        return JobFile.parse(draft.yaml(), "job.yaml", List.of()).config();
    }

    @Test
    void aScriptWithItsDeepSpeedFileBecomesTheSameTraining() {
        JobImport conversion = new JobImport(0);
        conversion.add(ForeignSettings.ofFlags(SCRIPT));
        conversion.add(ForeignSettings.ofYaml(DEEPSPEED, "ds.json"));
        JobDraft draft = conversion.finish();
        JobConfig job = job(draft);
        assertEquals(Path.of("/models/chatglm3-6b"), job.model().path());
        assertEquals(4, job.workers());
        assertEquals(1, job.train().microBatchSize());
        assertEquals(16, job.train().globalBatchSize());
        assertEquals(1e-4, job.train().learningRate());
        assertEquals(0.5, job.train().maxGradNorm());
        assertEquals(0.1, job.train().schedule().warmupRatio());
        assertEquals(Precision.BF16, job.precision());
        assertEquals(2, job.zero().stage());
        assertEquals(DataConfig.Template.CHATGLM3, job.data().template());
        assertEquals(1560, job.data().maxLength());
        assertEquals(
                new TuningMethod.Lora(
                        16, 64, 0.1, List.of("query_key_value", "dense_h_to_4h", "dense_4h_to_h", "dense")),
                job.method().tuning());
        String left = String.join("\n", draft.left());
        assertTrue(left.contains("ds_file") && left.contains("overlap_comm") && left.contains("show_loss_step"), left);
        assertTrue(draft.yaml().contains("# Not carried over:"), draft.yaml());
    }

    @Test
    void whatDeepSpeedKeepsOnTheHostStaysThere() {
        for (String device : List.of("cpu", "none", "nvme")) {
            JobImport conversion = new JobImport(0);
            conversion.add(ForeignSettings.ofFlags(SCRIPT));
            conversion.add(ForeignSettings.ofYaml(
                    "{\"zero_optimization\": {\"stage\": 3, \"offload_optimizer\": {\"device\": \"" + device
                            + "\"}, \"offload_param\": {\"device\": \"" + device + "\"}}}",
                    "ds.json"));
            JobDraft draft = conversion.finish();
            assertEquals(!device.equals("none"), job(draft).zero().offloadOptimizer(), device);
            assertEquals(!device.equals("none"), job(draft).zero().offloadParams(), device);
            String left = String.join("\n", draft.left());
            assertEquals(device.equals("nvme"), left.contains("nothing is kept on disks"), left);
        }
    }

    @Test
    void aLlamaFactoryFileBecomesAQloraJob() {
        JobImport conversion = new JobImport(2);
        conversion.add(ForeignSettings.ofYaml(
                """
                        model_name_or_path: /models/chatglm2-6b
                        stage: sft
                        do_train: true
                        finetuning_type: lora
                        lora_rank: 8
                        lora_target: query_key_value
                        quantization_bit: 4
                        double_quantization: false
                        dataset: identity
                        template: chatglm2
                        cutoff_len: 2048
                        output_dir: /out
                        per_device_train_batch_size: 2
                        gradient_accumulation_steps: 8
                        learning_rate: 1.0e-4
                        num_train_epochs: 3.0
                        lr_scheduler_type: cosine
                        warmup_ratio: 0.1
                        bf16: true
                        val_size: 0.1
                        eval_steps: 500
                        """,
                "x.yaml"));
        JobDraft draft = conversion.finish();
        draft.set("data.train", "/data/a.jsonl");
        JobConfig job = job(draft);
        assertEquals(
                new TuningMethod.Lora(8, 16, 0, List.of("query_key_value"), TuningMethod.Quantization.NF4),
                job.method().tuning());
        assertEquals(32, job.train().globalBatchSize());
        assertEquals(3, job.train().epochs());
        assertEquals(ScheduleConfig.Type.COSINE, job.train().schedule().type());
        assertEquals(0, job.evaluation().everySteps());
        String left = String.join("\n", draft.left());
        assertTrue(
                left.contains("dataset: identity") && left.contains("val_size") && left.contains("needs data.eval"),
                left);
    }

    @Test
    void chatglm3sOwnConfigurationBecomesAPrefixJob() {
        JobImport conversion = new JobImport(0);
        conversion.add(ForeignSettings.ofYaml(
                """
                        data_config: {train_file: train.json, val_file: dev.json, num_proc: 16}
                        max_input_length: 128
                        max_output_length: 256
                        training_args:
                          output_dir: ./output
                          max_steps: 3000
                          learning_rate: 5e-5
                          per_device_train_batch_size: 4
                          save_steps: 500
                          eval_steps: 500
                        peft_config: {peft_type: PREFIX_TUNING, task_type: CAUSAL_LM, num_virtual_tokens: 128}
                        """,
                "ptuning_v2.yaml"));
        JobDraft draft = conversion.finish();
        draft.set("model.path", "/models/chatglm3-6b");
        JobConfig job = job(draft);
        assertEquals(new TuningMethod.PTuningV2(128, false), job.method().tuning());
        assertEquals(128, job.data().maxSourceLength());
        assertEquals(384, job.data().maxLength());
        assertEquals(3000, job.train().maxSteps());
        assertEquals(500, job.evaluation().everySteps());
        assertEquals(DataConfig.Format.CHATGLM3, job.data().format());
    }

    @Test
    void peftsVirtualTokensAreWhatTheirKindOfTrainingSays() {
        JobDraft encoded = imported("--peft_type P_TUNING --num_virtual_tokens 24 --encoder_hidden_size 128");
        assertEquals(new TuningMethod.PTuning(24), job(encoded).method().tuning());
        assertSays(encoded.left(), "encoder_hidden_size: 128 - virtual tokens are trained themselves here");
        assertEquals(1, encoded.left().size(), encoded.left().toString());
        assertSays(
                imported("--num_virtual_tokens 24 --peft_type P_TUNING").left(),
                "encoder_reparameterization_type: MLP - virtual tokens are trained themselves here");

        JobDraft plain = imported("--peft_type PROMPT_TUNING --num_virtual_tokens 8 --prompt_tuning_init RANDOM");
        assertEquals(new TuningMethod.PTuning(8), job(plain).method().tuning());
        assertTrue(plain.left().isEmpty(), plain.left().toString());
        assertSays(
                imported("--peft_type PROMPT_TUNING --prompt_tuning_init TEXT --pre_seq_len 4")
                        .left(),
                "prompt_tuning_init: TEXT",
                "method.prefix_length: 4 - method.type p_tuning has no such option",
                "method.virtual_tokens: not said");

        JobDraft prefix = imported("--peft_type PREFIX_TUNING --num_virtual_tokens 16 --prefix_projection true"
                + " --encoder_hidden_size 512");
        assertEquals(new TuningMethod.PTuningV2(16, true), job(prefix).method().tuning());
        assertSays(prefix.left(), "encoder_hidden_size: 512 - the maps of method.projection");
        JobDraft script = imported("--finetuning_type p_tuning --pre_seq_len 16");
        assertEquals(new TuningMethod.PTuningV2(16, false), job(script).method().tuning());
        JobDraft silent = imported("--num_virtual_tokens 16");
        assertEquals(new TuningMethod.PTuningV2(16, false), job(silent).method().tuning());
        assertSays(silent.decided(), "method.type: p_tuning_v2 - the settings name no peft_type");
        assertEquals(
                new TuningMethod.PTuningV2(16, false),
                job(imported("--finetuning_type p_tuning_v2 --pre_seq_len 16"))
                        .method()
                        .tuning());
    }

    @Test
    void xtunersNamesAreKnown() {
        JobImport conversion = new JobImport(8);
        conversion.add(ForeignSettings.ofYaml(
                """
                        pretrained_model_name_or_path: /m
                        accumulative_counts: 16
                        batch_size: 1
                        max_epochs: 3
                        lr: 2e-4
                        max_norm: 1
                        max_length: 2048
                        pack_to_max_length: true
                        save_steps: 500
                        save_total_limit: 2
                        evaluation_freq: 500
                        """,
                "x.yaml"));
        JobDraft draft = conversion.finish();
        draft.set("data.train", "/a");
        draft.set("output_dir", "/o");
        JobConfig job = job(draft);
        assertEquals(128, job.train().globalBatchSize());
        assertEquals(2, job.checkpoint().keepLast());
        assertEquals(new TuningMethod.Full(), job.method().tuning());
    }

    @Test
    void whatIsNotSaidIsTheOtherToolsDefaultNotOurs() {
        JobImport script = new JobImport(1);
        script.add(ForeignSettings.ofFlags(
                "train.py --train_path a.jsonl --model_name_or_path /m --output_dir o --mode glm2 --train_type lora"));
        JobDraft draft = script.finish();
        JobConfig job = job(draft);
        assertEquals(16, job.train().microBatchSize());
        assertEquals(16, job.train().globalBatchSize());
        assertEquals(1e-3, job.train().learningRate());
        assertEquals(1024, job.data().maxLength());
        assertEquals(
                new TuningMethod.Lora(8, 30, 0.1, List.of("query_key_value")),
                job.method().tuning());
        assertTrue(draft.assumed().contains("lora_alpha: 30"), draft.assumed().toString());
        assertTrue(draft.yaml().contains("#   learning_rate: 0.001"), draft.yaml());

        JobImport published = new JobImport(1);
        published.add(ForeignSettings.ofFlags(
                "main.py --do_train --train_file a.jsonl --prompt_column content --model_name_or_path /m --output_dir o"
                        + " --pre_seq_len 128 --learning_rate 2e-2 --max_steps 3000 --evaluation_strategy no --eval_steps 5"
                        + " --save_strategy epoch --target_modules query_key_value dense"));
        draft = published.finish();
        job = job(draft);
        assertEquals(new TuningMethod.PTuningV2(128, false), job.method().tuning());
        assertEquals(8, job.train().microBatchSize());
        assertEquals(2e-2, job.train().learningRate());
        assertEquals(0, job.train().optimizer().weightDecay());
        assertEquals(0.999, job.train().optimizer().beta2());
        assertEquals(1024, job.data().maxSourceLength());
        assertEquals(1152, job.data().maxLength());
        assertEquals(3000, job.train().maxSteps());
        assertEquals(0, job.evaluation().everySteps());
        assertTrue(
                draft.left().toString().contains("save_strategy: epoch"),
                draft.left().toString());
        assertTrue(
                draft.left().stream().noneMatch(l -> l.contains("dense ")),
                draft.left().toString());
    }

    private static JobDraft imported(String... flags) {
        JobImport conversion = new JobImport(1);
        conversion.add(ForeignSettings.ofFlags(
                "--model_name_or_path /m --output_dir /o --train_file a.jsonl --bf16 True " + String.join(" ", flags)));
        return conversion.finish();
    }

    private static void assertSays(List<String> lines, String... texts) {
        for (String text : texts) {
            assertTrue(lines.stream().anyMatch(l -> l.contains(text)), text + " is not in " + lines);
        }
    }

    @Test
    void optionsOfLoraMeanLoraWithTheDefaultsOfTheirTool() {
        JobDraft factory = imported("--cutoff_len 512 --lora_rank 16");
        assertEquals(
                new TuningMethod.Lora(16, 32, 0, List.of("all")),
                job(factory).method().tuning());
        assertSays(factory.decided(), "method.type: lora - ");
        assertSays(factory.assumed(), "lora_alpha: 32", "lora_target: all");
        JobDraft silent = imported("--cutoff_len 512 --dataset_dir data");
        assertEquals(
                new TuningMethod.Lora(8, 16, 0, List.of("all")),
                job(silent).method().tuning());
        assertSays(silent.assumed(), "finetuning_type: lora");

        JobDraft script = imported("--train_path a.jsonl --lora_dim 4");
        assertEquals(
                new TuningMethod.Lora(4, 30, 0.1, List.of("query_key_value")),
                job(script).method().tuning());

        for (String options : List.of("--r 8", "--peft_type LORA", "--r 8 --target_modules query_key_value")) {
            JobDraft peft = imported(options);
            assertEquals(
                    new TuningMethod.Lora(8, 8, 0, List.of("query_key_value")),
                    job(peft).method().tuning());
            assertSays(peft.assumed(), "lora_alpha: 8");
            assertTrue(peft.left().isEmpty(), peft.left().toString());
        }
        JobImport xtuner = new JobImport(1);
        xtuner.add(ForeignSettings.ofYaml(
                "{pretrained_model_name_or_path: /m, data_path: a.jsonl, work_dir: /o, model: {lora: {r: 64, lora_alpha: 16}}}",
                "x"));
        assertEquals(
                new TuningMethod.Lora(64, 16, 0, List.of("all")),
                job(xtuner.finish()).method().tuning());

        for (String option : List.of("--lora_r 4", "--lora_alpha 8", "--target_modules dense", "--lora_dropout 0.1")) {
            JobDraft unknown = imported(option);
            assertTrue(job(unknown).method().tuning() instanceof TuningMethod.Lora, option);
            assertSays(unknown.left(), "not said - the tool's default is not known here");
        }
        assertTrue(imported("--lora_r 4 --lora_alpha 8 --target_modules dense")
                .left()
                .isEmpty());
    }

    @Test
    void optionsThatTheMethodHasNotAreNamed() {
        JobDraft draft = imported("--finetuning_type full --lora_rank 8 --lora_alpha 32 --lora_target all"
                + " --double_quantization true --pre_seq_len 16 --num_layer_trainable 2");
        assertEquals(new TuningMethod.Full(), job(draft).method().tuning());
        assertSays(
                draft.left(),
                "method.rank: 8 - method.type full has no such option",
                "method.alpha: 32",
                "method.targets: [\"all\"]",
                "method.double_quantization: true",
                "method.prefix_length: 16",
                "method.last_layers: 2");
        assertSays(
                imported("--warmup_steps 10 --warmup_ratio 0.1 --eval_strategy no --eval_steps 5")
                        .left(),
                "train.schedule.warmup_ratio: 0.1 - train.schedule.warmup_steps is set",
                "evaluation.every_steps: 5 - the settings switch evaluation off");
        assertSays(imported("--ptuning_checkpoint c").left(), "prefix_encoder.safetensors");
        assertSays(imported("--adapter_name_or_path c").left(), "model.adapter");
    }

    @Test
    void aPrecisionThatIsNotSaidIsDecidedAloud() {
        assertTrue(imported().decided().isEmpty());
        JobDraft draft = imported("--bf16 False");
        assertSays(draft.decided(), "precision: bf16 - neither bf16 nor fp16 is switched on");
        assertTrue(draft.yaml().contains("# Not said, so decided here:\n#   precision: bf16"), draft.yaml());
        assertTrue(draft.yaml().contains("\nprecision: bf16\n"), draft.yaml());
    }

    @Test
    void parametersStayOnTheHostOnlyWhereTheyCan() {
        for (String zero : List.of(
                "\"stage\": 2, \"offload_param\": {\"device\": \"cpu\"}, \"offload_optimizer\": {\"device\": \"cpu\"}",
                "\"stage\": 3, \"offload_param\": {\"device\": \"cpu\"}, \"offload_optimizer\": {\"device\": \"none\"}",
                "\"offload_param\": {\"device\": \"cpu\"}")) {
            JobImport conversion = new JobImport(0);
            conversion.add(ForeignSettings.ofFlags(SCRIPT));
            conversion.add(ForeignSettings.ofYaml("{\"zero_optimization\": {" + zero + "}}", "ds.json"));
            JobDraft draft = conversion.finish();
            assertFalse(job(draft).zero().offloadParams(), zero);
            assertSays(draft.left(), "zero.offload_params: true - needs zero.");
        }
    }

    @Test
    void aJobFileForAnotherDirectoryHasAbsolutePaths(@TempDir Path elsewhere) {
        JobImport conversion = new JobImport(1);
        conversion.add(Map.of("train_path", "pom.xml", "model_name_or_path", "THUDM/chatglm3-6b", "output_dir", "out"));
        JobDraft draft = conversion.finish();
        draft.moveTo(elsewhere);
        assertTrue(draft.yaml().contains("train: " + Path.of("pom.xml").toAbsolutePath()), draft.yaml());
        assertTrue(draft.yaml().contains("path: THUDM/chatglm3-6b"), draft.yaml());
        assertTrue(draft.yaml().contains("output_dir: " + Path.of("out").toAbsolutePath()), draft.yaml());
    }

    @Test
    void whatIsNoFileOfSettingsIsSaidInOneLine() {
        for (String text : List.of("[1, 2]", "{", "just words")) {
            String message = assertThrows(IllegalArgumentException.class, () -> ForeignSettings.ofYaml(text, "x.yaml"))
                    .getMessage();
            assertTrue(message.startsWith("x.yaml ") && message.lines().count() == 1, message);
        }
        JobImport conversion = new JobImport(0);
        String message = assertThrows(
                        IllegalArgumentException.class,
                        () -> conversion.add(ForeignSettings.ofFlags("--max_input_length long")))
                .getMessage();
        assertTrue(message.contains("'long' is not a number"), message);
    }

    @Test
    void whatStandsAroundFlagsIsNoPartOfThem() {
        JobImport conversion = new JobImport(0);
        conversion.add(
                ForeignSettings.ofFlags(
                        """
                        # --max_len 9
                        deepspeed --num_gpus 4 --include localhost:0,1 train.py --model_name_or_path="/m/a b: c" \\
                          --train_path 'd.jsonl' --output_dir out --fp16 > log.txt 2>&1 &
                        """));
        conversion.add(
                ForeignSettings.ofYaml("{wandb: {mode: offline, seed: 5}, warmup_steps: 10, warmup_ratio: 0.1}", "y"));
        JobDraft draft = conversion.finish();
        JobConfig job = job(draft);
        assertEquals(4, job.workers());
        assertEquals(Path.of("/m/a b: c"), job.model().path());
        assertEquals("out", job.outputDir().getFileName().toString());
        assertEquals(Precision.FP16, job.precision());
        assertEquals(1234, job.train().seed());
        assertEquals(10, job.train().schedule().warmupSteps());
        assertEquals(1024, job.data().maxLength());
    }
}
