package org.shardloom.worker.data;

import java.util.List;
import org.shardloom.worker.tokenizer.Tokenizer;

/** A template without a tokenizer: a letter for the role, the content's characters, a bar. Only answers are learned. */
final class CharacterTemplate implements ChatTemplate {
    private final String fingerprint;
    private int encoded;

    CharacterTemplate() {
        this("characters");
    }

    CharacterTemplate(String fingerprint) {
        this.fingerprint = fingerprint;
    }

    /** How many conversations were encoded. */
    int encoded() {
        return encoded;
    }

    static String show(Sample sample) {
        return new String(sample.inputIds(), 0, sample.length());
    }

    @Override
    public Sample encode(List<Message> conversation, int maxLength, int maxSourceLength) {
        encoded++;
        Ids ids = new Ids(64);
        Ids labels = new Ids(64);
        for (Message message : conversation) {
            String text = message.role().name().charAt(0) + message.content() + "|";
            int[] characters = text.codePoints().toArray();
            ids.add(characters);
            if (message.learned()) {
                labels.add(characters);
            } else {
                labels.fill(Sample.IGNORED, characters.length);
            }
        }
        return new Sample(ids.toArray(), labels.toArray(), false);
    }

    @Override
    public int[] prompt(List<Message> conversation) {
        return encode(conversation, 0, 0).inputIds();
    }

    @Override
    public Tokenizer tokenizer() {
        throw new UnsupportedOperationException();
    }

    @Override
    public String fingerprint() {
        return fingerprint;
    }
}
