package org.shardloom.worker.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.protocol.config.DataConfig.Template;
import org.shardloom.worker.model.ModelConfigException;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.weights.SharedFixtures;

class TemplateFamilyTest {
    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource({"chatglm-6b,GLM1", "chatglm2-6b,GLM2", "chatglm3-6b,GLM3"})
    void publishedModelsHaveTheirOwnTemplate(String model, Family family) {
        assertEquals(family, TemplateFamily.of(Template.AUTO, SharedFixtures.shared("facts/models/" + model)));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "{\"model_type\":\"chatglm\"};GLM1",
                "{\"model_type\":\"chatglm\",\"multi_query_attention\":false,\"_name_or_path\":\"x/chatglm2\"};GLM1",
                "{\"model_type\":\"chatglm\",\"multi_query_attention\":true};GLM3",
                "{\"model_type\":\"chatglm\",\"multi_query_attention\":true,\"_name_or_path\":\"x/ChatGLM2-y\"};GLM2",
                "{\"model_type\":\"llama\",\"_name_or_path\":\"chatglm2\"};PLAIN",
                "{};PLAIN"
            })
    void autoGoesByArchitectureAndName(String config, Family family) throws Exception {
        Files.writeString(directory.resolve("config.json"), config);
        assertEquals(family, TemplateFamily.of(Template.AUTO, directory));
    }

    @Test
    void aNamedTemplateNeedsNoModelAndAutoDoes() {
        assertEquals(Family.GLM1, TemplateFamily.of(Template.CHATGLM, directory));
        assertEquals(Family.GLM2, TemplateFamily.of(Template.CHATGLM2, directory));
        assertEquals(Family.GLM3, TemplateFamily.of(Template.CHATGLM3, directory));
        assertEquals(Family.PLAIN, TemplateFamily.of(Template.PLAIN, directory));
        String message = assertThrows(ModelConfigException.class, () -> TemplateFamily.of(Template.AUTO, directory))
                .getMessage();
        assertTrue(message.contains("config.json; a model"), message);
    }
}
