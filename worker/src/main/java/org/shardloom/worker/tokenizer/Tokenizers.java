package org.shardloom.worker.tokenizer;

import java.nio.file.Files;
import java.nio.file.Path;

/** Opens tokenizers. */
public final class Tokenizers {
    static final String SENTENCEPIECE_FILE = "tokenizer.model";
    static final String GLM1_FILE = "ice_text.model";
    static final String HUGGING_FACE_FILE = "tokenizer.json";

    private Tokenizers() {}

    /**
     * Opens the tokenizer in a directory, or one given by its file.
     *
     * <p>ChatGLM-6B needs {@code ice_text.model}, ChatGLM2 and 3 {@code tokenizer.model}. For {@link Family#PLAIN} a directory's {@code tokenizer.json}
     * is preferred to {@code tokenizer.model}, as Hugging Face does.
     *
     * @param location a model or tokenizer directory, a {@code .model} file or a {@code tokenizer.json}
     * @param family which special tokens to expect
     * @return the tokenizer, to be closed by the caller
     * @throws TokenizerException if there is none, or if it can't be read
     */
    public static Tokenizer open(Path location, Family family) {
        if (!Files.exists(location)) {
            throw new TokenizerException("tokenizer: " + location + " does not exist");
        }
        Path file = Files.isDirectory(location) ? findIn(location, family) : location;
        boolean json = file.getFileName().toString().endsWith(".json");
        if (json && family != Family.PLAIN) {
            throw new TokenizerException("tokenizer: " + file + ": " + family + " needs a SentencePiece file ("
                    + sentencePieceFile(family) + "), not a JSON file");
        }
        if (family == Family.GLM1) {
            return Glm1Tokenizer.open(file);
        }
        return json ? HuggingFaceTokenizer.open(file) : SentencePieceTokenizer.open(file, family);
    }

    private static Path findIn(Path directory, Family family) {
        Path json = directory.resolve(HUGGING_FACE_FILE);
        Path model = directory.resolve(sentencePieceFile(family));
        if (family == Family.PLAIN && Files.isRegularFile(json)) {
            return json;
        }
        if (Files.isRegularFile(model)) {
            return model;
        }
        String wanted = (family == Family.PLAIN ? HUGGING_FACE_FILE + " or " : "") + sentencePieceFile(family);
        throw new TokenizerException("tokenizer: no " + wanted + " in " + directory
                + "; copy the model's tokenizer files there or set `tokenizer:` to the directory that has them");
    }

    private static String sentencePieceFile(Family family) {
        return family == Family.GLM1 ? GLM1_FILE : SENTENCEPIECE_FILE;
    }
}
