package org.shardloom.deploy.cli;

import java.io.IOException;
import java.nio.file.Path;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.worker.checkpoint.TrainedAs;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.loop.TemplateFamily;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;
import picocli.CommandLine.Option;

/** Which model is used, and in which conversation format. */
final class ModelFlags {
    @Option(
            names = "--model",
            required = true,
            paramLabel = "DIR",
            description =
                    "A Hugging Face directory, an adapter or a prefix, such as a run's final/, or a checkpoint of a run.")
    private Path model;

    @Option(
            names = "--base",
            paramLabel = "DIR",
            description = "The model that an adapter belongs to; default: the one that it names.")
    private Path base;

    @Option(names = "--tokenizer", paramLabel = "DIR", description = "Tokenizer; default: the model's.")
    private Path tokenizer;

    @Option(
            names = "--template",
            defaultValue = "auto",
            paramLabel = "auto|chatglm|chatglm2|chatglm3|plain",
            description = "Conversation format; default: that of its training, or the model's own.")
    private DataConfig.Template template;

    /** The directory that was named. */
    Path model() {
        return model;
    }

    ModelSource open() throws IOException {
        return ModelSource.of(model, base);
    }

    /** Longest sequence: the model's context, but no more than that. */
    static int positions(ModelSource source, int most) {
        return Math.min(
                most,
                source.model().config().maxPositions()
                        - source.model().adapters().virtualTokens());
    }

    /** The tokenizer for the source, of the family that the template, the training or the model asks for. */
    Tokenizer openTokenizer(ModelSource source) {
        DataConfig.Template asked = template == DataConfig.Template.AUTO
                ? source.trainedAs().map(TrainedAs::template).orElse(template)
                : template;
        return Tokenizers.open(
                tokenizer == null ? source.tokenizer() : tokenizer, TemplateFamily.of(asked, source.modelDirectory()));
    }

    /** Lays conversations out as the model has seen them: in training, or else in its family's chat. */
    static ChatTemplate template(ModelSource source, Tokenizer tokenizer) {
        return ChatTemplate.of(tokenizer, source.trainedAs().isPresent());
    }
}
