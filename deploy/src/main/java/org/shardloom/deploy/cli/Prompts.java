package org.shardloom.deploy.cli;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Option;

/** Where {@code generate} takes its prompts from: the command line, a file or the standard input. */
final class Prompts {
    @Option(
            names = "--prompt",
            required = true,
            paramLabel = "TEXT",
            description = "What to answer, or to continue with --template plain.")
    private String prompt;

    @Option(
            names = "--input",
            required = true,
            paramLabel = "FILE",
            description = "A file with a prompt on each line, in UTF-8; -: the standard input.")
    private String input;

    /**
     * The prompts, none of them empty.
     *
     * @throws Failures.UsageException with file and line of what is wrong
     */
    List<String> read() throws IOException {
        if (prompt != null) {
            return List.of(prompt);
        }
        byte[] bytes = input.equals("-") ? System.in.readAllBytes() : Files.readAllBytes(Path.of(input));
        List<String> prompts;
        try {
            prompts = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString()
                    .lines()
                    .toList();
        } catch (CharacterCodingException e) {
            throw new Failures.UsageException(name() + " is not UTF-8");
        }
        if (prompts.isEmpty()) {
            throw new Failures.UsageException(name() + " is empty, expected a prompt on each line");
        }
        for (int i = 0; i < prompts.size(); i++) {
            if (prompts.get(i).isBlank()) {
                throw new Failures.UsageException(where(i) + "the line is empty, expected a prompt");
            }
        }
        return prompts;
    }

    /** File and line of a prompt, to begin a message with; nothing where there is only one. */
    String where(int index) {
        return prompt != null ? "" : name() + ":" + (index + 1) + ": ";
    }

    private String name() {
        return input.equals("-") ? "standard input" : input;
    }
}
