package org.shardloom.worker.loop;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.model.ModelConfigException;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.tokenizer.Family;

/** Which conversation format a job uses. */
public final class TemplateFamily {
    private TemplateFamily() {}

    /**
     * The template that was asked for; {@code auto} takes the model's own. ChatGLM-6B is told by its architecture; ChatGLM2 and 3
     * differ only in their name.
     *
     * @param modelDirectory where config.json is
     * @throws ModelConfigException if {@code auto} needs config.json and it cannot be read
     */
    public static Family of(DataConfig.Template template, Path modelDirectory) {
        return switch (template) {
            case CHATGLM -> Family.GLM1;
            case CHATGLM2 -> Family.GLM2;
            case CHATGLM3 -> Family.GLM3;
            case PLAIN -> Family.PLAIN;
            case AUTO -> of(ModelConfigReader.json(modelDirectory));
        };
    }

    /** What people are told of it, in one line; empty where the job trains on tokens. */
    public static Optional<String> describe(JobConfig job) {
        if (job.data().format() == DataConfig.Format.PRETOKENIZED) {
            return Optional.empty();
        }
        DataConfig.Template template = job.data().template();
        String name =
                switch (of(template, job.model().path())) {
                    case GLM1 -> "ChatGLM-6B's";
                    case GLM2 -> "ChatGLM2's";
                    case GLM3 -> "ChatGLM3's";
                    case PLAIN -> "plain";
                };
        return Optional.of("conversation format: " + name
                + (template == DataConfig.Template.AUTO ? ", as the model's config.json says (data.template)" : ""));
    }

    private static Family of(JsonNode config) {
        if (!config.path("model_type").asText("").equals("chatglm")) {
            return Family.PLAIN;
        }
        if (ModelConfigReader.isFirstChatglm(config)) {
            return Family.GLM1;
        }
        String published = config.path("_name_or_path").asText("").toLowerCase(Locale.ROOT);
        return published.contains("chatglm2") ? Family.GLM2 : Family.GLM3;
    }
}
