package org.shardloom.deploy.cli;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.generate.StopTexts;
import org.shardloom.worker.generate.TokenModel;
import org.shardloom.worker.tokenizer.Tokenizer;
import picocli.CommandLine.Option;

/** The flags that say where answers end, besides where the model ends them. */
final class StopFlags {
    @Option(
            names = "--stop",
            paramLabel = "TEXT",
            description = "End an answer before this text; may be repeated. In bash, $'\\n' is the end of a line.")
    private List<String> texts = new ArrayList<>();

    @Option(
            names = "--stop-token",
            paramLabel = "ID|NAME",
            description = "End an answer before this token, by number or by a special token's name; may be repeated.")
    private List<String> tokens = new ArrayList<>();

    /** To be called before anything is read. */
    void check() {
        if (texts.contains("")) {
            throw new Failures.UsageException("--stop is empty, expected a text");
        }
    }

    /** The texts at which answers end. */
    StopTexts texts(Tokenizer words) {
        return new StopTexts(texts, words::decode);
    }

    /** A generator that ends answers as the format of the conversation and the flags say. */
    Generator generator(TokenModel model, Tokenizer words, ChatTemplate chat, SamplingOptions options) {
        Set<Integer> stops = new HashSet<>(chat.stops());
        tokens.forEach(token -> stops.add(id(token, words)));
        return new Generator(model, words.vocabularySize(), stops, options).endingWith(texts(words)::reached);
    }

    private static int id(String token, Tokenizer words) {
        OptionalInt special = words.specialId(token);
        if (special.isPresent()) {
            return special.getAsInt();
        }
        try {
            int id = Integer.parseInt(token);
            if (id >= 0 && id < words.vocabularySize()) {
                return id;
            }
        } catch (NumberFormatException e) {
            throw new Failures.UsageException("--stop-token " + token
                    + " is neither a number nor a special token of this model; --stop takes texts");
        }
        throw new Failures.UsageException(
                "--stop-token " + token + " is none of the model's tokens, 0 to " + (words.vocabularySize() - 1));
    }
}
