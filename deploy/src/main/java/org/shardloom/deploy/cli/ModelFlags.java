package org.shardloom.deploy.cli;

import java.io.IOException;
import java.nio.file.Path;
import org.shardloom.protocol.config.DataConfig;
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
            description = "Conversation format; default: the model's.")
    private DataConfig.Template template;

    /** The directory that was named. */
    Path model() {
        return model;
    }

    ModelSource open() throws IOException {
        return ModelSource.of(model, base);
    }

    /** The tokenizer for the source, of the family that the template or the model asks for. */
    Tokenizer openTokenizer(ModelSource source) {
        return Tokenizers.open(
                tokenizer == null ? source.tokenizer() : tokenizer,
                TemplateFamily.of(template, source.modelDirectory()));
    }
}
