package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.worker.tuning.TuningException;

/** What is said of adapters that change nothing. */
@Timeout(60)
class AdaptationTest {
    @TempDir
    Path directory;

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"step\": 1, \"learning_rate\": 0.0}|true",
                "{\"step\": 1, \"learning_rate\": 0.0};{\"step\": 2, \"learning_rate\": 0}|true",
                "{\"step\": 1, \"learning_rate\": 1e-5};{\"step\": 2, \"learning_rate\": 0.0}|false",
                "{\"step\": 1, \"learning_rate\": 0.0};{\"step\": 2, \"learning_rate\": 1e-5}|false",
                "{\"step\": 1}|false",
                "no JSON|false",
                "''|false",
                "|false"
            })
    void theLearningRateIsNamedWhereItWasTheCause(String lines, boolean named) throws Exception {
        if (lines != null) {
            Files.writeString(directory.resolve("metrics.jsonl"), lines.replace(";", "\n"));
        }
        Path adapter = directory.resolve("final");
        String message = assertThrows(TuningException.class, () -> Adaptation.announce(0, "the adapter", adapter))
                .getMessage();
        assertTrue(message.startsWith("the adapter changes nothing"), message);
        assertEquals(named, message.contains("It was trained with a learning rate of 0, as " + directory), message);
        assertEquals(!named, message.contains("Was the adapter trained for at least one step"), message);
    }
}
