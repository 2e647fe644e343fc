package org.shardloom.deploy.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.Message;
import org.shardloom.worker.data.Role;
import org.shardloom.worker.generate.GreedyGenerator;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.loop.TemplateFamily;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code shardloom generate}. */
@Command(name = "generate", description = "Answers a prompt with a model, greedily.", mixinStandardHelpOptions = true)
final class GenerateCommand implements Callable<Integer> {
    @Option(
            names = "--model",
            required = true,
            paramLabel = "DIR",
            description = "A Hugging Face directory, such as a run's final/.")
    private Path model;

    @Option(names = "--tokenizer", paramLabel = "DIR", description = "Tokenizer; default: the model directory.")
    private Path tokenizer;

    @Option(
            names = "--prompt",
            required = true,
            paramLabel = "TEXT",
            description = "What to answer, or to continue with --template plain.")
    private String prompt;

    @Option(
            names = "--template",
            defaultValue = "auto",
            paramLabel = "auto|chatglm2|chatglm3|plain",
            description = "Conversation format; default: the model's.")
    private DataConfig.Template template;

    @Option(
            names = "--max-new-tokens",
            defaultValue = "128",
            paramLabel = "N",
            description = "Most tokens to generate; default: ${DEFAULT-VALUE}.")
    private int maxNewTokens;

    @Override
    public Integer call() throws Exception {
        try (Tokenizer words = Tokenizers.open(
                        tokenizer == null ? model : tokenizer,
                        TemplateFamily.of(template, model, ModelConfigReader.read(model)));
                LoadedModel loaded =
                        LoadedModel.open(model, Runtime.getRuntime().availableProcessors(), 4096)) {
            int[] ids = ChatTemplate.of(words).prompt(List.of(Message.of(Role.USER, prompt)));
            int[] answer = new GreedyGenerator(loaded, words.eosId())
                    .generate(List.of(ids), maxNewTokens)
                    .get(0);
            System.out.println(words.decode(answer).strip());
        }
        return 0;
    }
}
