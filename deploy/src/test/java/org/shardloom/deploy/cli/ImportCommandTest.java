package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.protocol.config.MethodConfig;

/** The command as the command line runs it: what it writes, what it says, and what it refuses. */
class ImportCommandTest {
    @TempDir
    Path directory;

    private Path script;
    private Path deepSpeed;
    private final StringWriter out = new StringWriter();
    private final StringWriter error = new StringWriter();

    @BeforeEach
    void write() throws Exception {
        script = Files.writeString(
                directory.resolve("train.sh"),
                """
                deepspeed --num_gpus 2 train.py --model_name_or_path /models/chatglm3-6b --train_path /data/a.json \\
                    --train_type lora --lora_dim 16 --max_len 1560 --max_src_len 1024 --num_train_epochs 2 \\
                    --show_loss_step 10 --output_dir /out/glm3
                """);
        deepSpeed = Files.writeString(
                directory.resolve("ds.json"),
                "{\"zero_optimization\": {\"stage\": 2, \"overlap_comm\": true}, \"bf16\": {\"enabled\": true}}");
    }

    private int run(String... arguments) {
        out.getBuffer().setLength(0);
        error.getBuffer().setLength(0);
        String[] line = Stream.concat(Stream.of("import"), Stream.of(arguments)).toArray(String[]::new);
        return Main.run(new PrintWriter(out, true), new PrintWriter(error, true), line);
    }

    /** One line says what is wrong, and nothing is written. */
    private void refused(int status, String message, String... arguments) {
        assertEquals(status, run(arguments), error.toString());
        assertTrue(error.toString().startsWith("shardloom: "), error.toString());
        assertTrue(error.toString().contains(message), error.toString());
        assertEquals(1, error.toString().lines().count(), error.toString());
        assertEquals("", out.toString());
    }

    private void assertImported(JobConfig job) {
        assertEquals(Path.of("/models/chatglm3-6b"), job.model().path());
        assertEquals(MethodConfig.Type.LORA, job.method().type());
        assertEquals(2, job.zero().stage());
        assertEquals(2, job.workers());
        assertEquals(1560, job.data().maxLength());
    }

    @Test
    void aJobFileIsWrittenAndWhatItLacksIsNamed() throws Exception {
        Path job = directory.resolve("job.yaml");
        assertEquals(3, run(script.toString(), deepSpeed.toString(), "--output", job.toString()), error.toString());
        assertEquals("written: " + job + "\n", out.toString());
        assertImported(JobFile.load(job, List.of()).config());
        List<String> said = error.toString().lines().toList();
        for (String name : List.of("overlap_comm", "show_loss_step: 10")) {
            assertTrue(
                    said.stream().anyMatch(l -> l.startsWith("not carried over: ") && l.contains(name)),
                    name + " is not named:\n" + error);
            assertTrue(Files.readString(job).contains(name), "nor in the job file:\n" + Files.readString(job));
        }
        assertTrue(said.stream().noneMatch(l -> l.startsWith("to be completed: ")), error.toString());
    }

    @Test
    void aDeepSpeedFileThatTheSettingsNameIsAskedForUnlessItIsGiven() throws Exception {
        Path yaml = Files.writeString(
                directory.resolve("sft.yaml"),
                """
                model_name_or_path: /models/chatglm3-6b
                train_path: /data/a.json
                finetuning_type: full
                deepspeed: configs/ds.json
                output_dir: out
                """);
        run(yaml.toString());
        assertTrue(error.toString().contains("deepspeed: configs/ds.json - give this file"), error.toString());
        run(yaml.toString(), deepSpeed.toString());
        assertFalse(error.toString().contains("give this file"), error.toString());
        Path flags = Files.writeString(
                directory.resolve("flags.sh"),
                "python train.py --deepspeed --deepspeed_config ds.json --train_path a.json --output_dir out\n");
        run(flags.toString(), deepSpeed.toString());
        assertFalse(error.toString().contains("give this file"), error.toString());
        run(flags.toString());
        assertTrue(error.toString().contains("deepspeed_config: ds.json - give this file"), error.toString());
    }

    @Test
    void withoutAFileTheJobGoesToTheStandardOutputAlone() throws Exception {
        assertEquals(3, run(script.toString(), deepSpeed.toString()), error.toString());
        assertImported(JobFile.parse(out.toString(), "out", List.of()).config());
    }

    @Test
    void theStatusSaysWhetherAllWasCarriedOver() throws Exception {
        String all =
                "--model_name_or_path /models/chatglm3-6b --train_path /data/a.json --output_dir /out --max_len 1560";
        assertEquals(0, run("--flags", all), error.toString());
        assertFalse(error.toString().contains("not carried over")
                || error.toString().contains("completed"));
        assertTrue(error.toString().contains("decided here: precision: bf16"), error.toString());
        assertEquals(3, run("--flags", all + " --train_type all --lora_dim 8"), error.toString());
        assertTrue(error.toString().contains("not carried over: method.rank: 8"), error.toString());
        assertEquals(3, run("--flags", all + " --show_loss_step 10"), error.toString());
        assertEquals(3, run("--flags", "--max_len 1560"), error.toString());
        assertEquals(0, run("--help"));
        assertTrue(out.toString().contains("Exit status: 0"), out.toString());
    }

    @Test
    void whatTheJobStillNeedsIsSaid() throws Exception {
        assertEquals(3, run("--flags", "--lora_rank 8 --finetuning_type lora", "--gpus", "4"), error.toString());
        assertTrue(error.toString().contains("to be completed: "), error.toString());
        assertTrue(error.toString().contains("model.path"), error.toString());
        assertTrue(out.toString().contains("workers: 4"), out.toString());
    }

    @Test
    void whatCannotBeReadIsRefused() throws Exception {
        refused(2, "nothing to import: name files, or give --flags");
        refused(2, "there is no file " + directory + "/none.json", directory + "/none.json");
        Path broken = Files.writeString(directory.resolve("broken.json"), "{\"fp16\": {\"enabled\": ");
        refused(1, broken + " is neither YAML nor JSON", broken.toString());
        Path list = Files.writeString(directory.resolve("list.yaml"), "- a\n- b\n");
        refused(1, list + " holds no settings", list.toString());
        Path empty = Files.writeString(directory.resolve("empty.sh"), "#!/bin/sh\necho --\n");
        refused(1, empty + " holds no settings", empty.toString());
        refused(1, "--flags holds no settings", "--flags", "lora");
        refused(1, "num_train_epochs: 'two' is not a number", "--flags", "--num_train_epochs two");
        refused(1, "batch_size: 'big' is not a number", "--flags", "--batch_size big");
        Path binary = Files.write(directory.resolve("model.json"), new byte[] {'{', (byte) 0xff, (byte) 0xfe, '}'});
        refused(2, binary + " is not UTF-8 text", binary.toString());
    }

    @Test
    void aFileThatIsThereIsNotOverwritten() throws Exception {
        Path job = Files.writeString(directory.resolve("job.yaml"), "mine");
        refused(2, job + " exists already", script.toString(), "--output", job.toString());
        assertEquals("mine", Files.readString(job));
        Path nowhere = directory.resolve("nowhere/job.yaml");
        refused(1, "no such file or directory: " + nowhere, script.toString(), "--output", nowhere.toString());
        assertFalse(Files.exists(nowhere));
    }
}
