package org.shardloom.worker.tokenizer;

import ai.djl.sentencepiece.SpTokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** A SentencePiece tokenizer with the special tokens of its {@link Family}. */
public final class SentencePieceTokenizer implements Tokenizer {
    private final Family family;
    private final SentencePieceModel model;
    private final SpTokenizer encoder;
    private final Map<String, Integer> specials;
    private final Map<Integer, String> names;
    private final Pattern typeable;
    private final int vocabularySize;
    private final int bosId;
    private final int eosId;
    private final int padId;
    private final String fingerprint;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();
    private boolean closed;

    private SentencePieceTokenizer(
            Family family, SentencePieceModel model, SpTokenizer encoder, TokenizerFiles files, int eosId) {
        this.family = family;
        this.model = model;
        this.encoder = encoder;
        this.specials = specials(family, model, files);
        this.names = new LinkedHashMap<>();
        specials.forEach((name, id) -> {
            if (id >= model.size()) {
                names.put(id, name);
            }
        });
        this.typeable = typeable(family, specials);
        this.vocabularySize = Math.max(
                model.size(),
                specials.values().stream().mapToInt(id -> id + 1).max().orElse(0));
        this.bosId = family == Family.PLAIN ? named(files, "bos_token", model.bosId()) : -1;
        this.eosId = eosId;
        int pad = family == Family.PLAIN ? named(files, "pad_token", model.padId()) : 0;
        this.padId = pad >= 0 ? pad : eosId;
        this.fingerprint = files.fingerprint();
    }

    /**
     * Opens a SentencePiece model.
     *
     * @param file the {@code .model} file; for {@link Family#PLAIN}, {@code tokenizer_config.json} beside it is read
     *     too if it is there
     * @param family which special tokens follow the model's own vocabulary
     * @throws TokenizerException if the file is no SentencePiece model or has no end-of-text token
     */
    public static SentencePieceTokenizer open(Path file, Family family) {
        TokenizerFiles files = TokenizerFiles.read(file, family);
        SentencePieceModel model;
        try {
            model = SentencePieceModel.parse(files.mainBytes());
        } catch (IllegalArgumentException e) {
            throw new TokenizerException(
                    "tokenizer: " + file + " can't be read as a SentencePiece model: " + e.getMessage(), e);
        }
        int eos = model.eosId();
        if (family == Family.PLAIN) {
            Map<String, Integer> specials = specials(family, model, files);
            eos = files.token("eos_token").map(specials::get).orElse(eos);
        }
        if (eos < 0) {
            throw new TokenizerException("tokenizer: " + file
                    + " has no end-of-text token; name one as `eos_token` in tokenizer_config.json beside it");
        }
        NativeLibraries.configure();
        try {
            return new SentencePieceTokenizer(family, model, new SpTokenizer(files.mainBytes()), files, eos);
        } catch (RuntimeException | LinkageError e) {
            throw new TokenizerException("tokenizer: " + file + ": the SentencePiece library refused it: " + e, e);
        }
    }

    @Override
    public Family family() {
        return family;
    }

    @Override
    public int[] encode(String text) {
        lock.readLock().lock();
        try {
            requireOpen();
            return text.isEmpty() ? new int[0] : encoder.getProcessor().encode(TextRules.wellFormed(text));
        } finally {
            lock.readLock().unlock();
        }
    }

    @Override
    public int[] encodeWithSpecials(String text) {
        if (typeable == null) {
            return encode(text);
        }
        IntStream.Builder ids = IntStream.builder();
        Matcher matcher = typeable.matcher(text);
        int from = 0;
        while (matcher.find()) {
            Arrays.stream(encode(text.substring(from, matcher.start()))).forEach(ids);
            ids.add(specials.get(matcher.group()));
            from = matcher.end();
        }
        Arrays.stream(encode(text.substring(from))).forEach(ids);
        return ids.build().toArray();
    }

    @Override
    public String decode(int[] ids) {
        requireOpen();
        List<Object> tokens = new ArrayList<>(ids.length);
        for (int id : ids) {
            if (id < 0 || id >= vocabularySize) {
                throw new IllegalArgumentException("token id " + id + " is not in 0.." + (vocabularySize - 1));
            }
            tokens.add(token(id));
        }
        String text = SentencePieceDecoder.decode(model, tokens);
        return family == Family.GLM2 ? TextRules.cleanUp(text) : text;
    }

    private Object token(int id) {
        if (family != Family.PLAIN && (id == eosId || id == padId || id == model.bosId())) {
            return "";
        }
        if (id < model.size()) {
            return id;
        }
        return family == Family.GLM3 ? names.getOrDefault(id, "") : "";
    }

    @Override
    public int vocabularySize() {
        return vocabularySize;
    }

    @Override
    public OptionalInt specialId(String name) {
        Integer id = specials.get(name);
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    @Override
    public OptionalInt bosId() {
        return bosId < 0 ? OptionalInt.empty() : OptionalInt.of(bosId);
    }

    @Override
    public int eosId() {
        return eosId;
    }

    @Override
    public int padId() {
        return padId;
    }

    @Override
    public String fingerprint() {
        return fingerprint;
    }

    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            if (!closed) {
                closed = true;
                encoder.close();
            }
        } finally {
            lock.writeLock().unlock();
        }
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("the tokenizer is closed");
        }
    }

    private int named(TokenizerFiles files, String key, int otherwise) {
        return files.token(key).map(specials::get).orElse(otherwise);
    }

    private static Map<String, Integer> specials(Family family, SentencePieceModel model, TokenizerFiles files) {
        Map<String, Integer> specials = new LinkedHashMap<>();
        for (int id = 0; id < model.size(); id++) {
            if (model.type(id) == SentencePieceModel.CONTROL || model.type(id) == SentencePieceModel.UNKNOWN) {
                specials.put(model.piece(id), id);
            }
        }
        int next = model.size();
        for (String name : family.appended()) {
            specials.put(name, next++);
        }
        if (family == Family.PLAIN) {
            specials.putAll(files.addedTokens());
        }
        return specials;
    }

    private static Pattern typeable(Family family, Map<String, Integer> specials) {
        List<String> names = family == Family.PLAIN ? List.copyOf(specials.keySet()) : family.typeable();
        if (names.isEmpty()) {
            return null;
        }
        return Pattern.compile(names.stream()
                .sorted(Comparator.comparingInt(String::length).reversed())
                .map(Pattern::quote)
                .collect(Collectors.joining("|")));
    }
}
