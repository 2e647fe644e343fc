package org.shardloom.worker.loop;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Locale;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.tokenizer.Family;

/** Which conversation format a job uses. */
public final class TemplateFamily {
    private TemplateFamily() {}

    /** The template that was asked for; {@code auto} takes the model's own. ChatGLM2 and 3 differ only in their name. */
    public static Family of(DataConfig.Template template, Path modelDirectory, DecoderConfig model) {
        return switch (template) {
            case CHATGLM2 -> Family.GLM2;
            case CHATGLM3 -> Family.GLM3;
            case PLAIN -> Family.PLAIN;
            case AUTO -> model.names() != DecoderConfig.Names.CHATGLM
                    ? Family.PLAIN
                    : publishedName(modelDirectory).contains("chatglm2") ? Family.GLM2 : Family.GLM3;
        };
    }

    private static String publishedName(Path modelDirectory) {
        try {
            return new ObjectMapper()
                    .readTree(modelDirectory.resolve("config.json").toFile())
                    .path("_name_or_path")
                    .asText("")
                    .toLowerCase(Locale.ROOT);
        } catch (IOException e) {
            return "";
        }
    }
}
