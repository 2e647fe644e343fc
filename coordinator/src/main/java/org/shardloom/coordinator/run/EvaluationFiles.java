package org.shardloom.coordinator.run;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.shardloom.protocol.message.EvaluationReport.Answer;

/** evaluations/step-N.jsonl: what the model answered in an evaluation, a JSON object an answer, beside what was expected. */
final class EvaluationFiles {
    private static final ObjectMapper JSON = new ObjectMapper();

    private EvaluationFiles() {}

    /** Writes the answers, where there are any; the file replaces one of the same step. */
    static void write(Path outputDir, StepEvaluation evaluation) throws IOException {
        if (evaluation.answers().isEmpty()) {
            return;
        }
        StringBuilder lines = new StringBuilder();
        for (Answer answer : evaluation.answers()) {
            ObjectNode line = JSON.createObjectNode()
                    .put("sample", answer.sample() + 1)
                    .put("prompt", answer.prompt())
                    .put("answer", answer.answer())
                    .put("reference", answer.reference());
            answer.scores().forEach(line::put);
            lines.append(JSON.writeValueAsString(line)).append('\n');
        }
        Path directory = Files.createDirectories(outputDir.resolve("evaluations"));
        Files.writeString(directory.resolve("step-" + evaluation.step() + ".jsonl"), lines);
    }
}
