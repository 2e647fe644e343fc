package org.shardloom.worker.evaluate;

import java.io.IOException;
import java.io.StringReader;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Pattern;
import org.apache.lucene.analysis.cn.smart.HMMChineseTokenizer;
import org.apache.lucene.analysis.tokenattributes.OffsetAttribute;

/**
 * What metrics count: the units of a text, in one of two languages.
 *
 * <p>{@link #CHINESE}: ROUGE counts words as Apache Lucene's SmartCN divides them (a hidden Markov model over a dictionary),
 * lower-cased, punctuation included; BLEU counts characters, white space included, as ChatGLM's scripts do, so that its values
 * compare with theirs.
 *
 * <p>{@link #SPACED}, for English and other languages that put spaces between words: both count lower-cased runs of letters and
 * digits. On English text these are the words of rouge-score without stemming; unlike it, letters of other alphabets count.
 *
 * <p>Safe for use by several threads.
 */
public enum Segmentation {
    CHINESE {
        @Override
        public List<String> rougeUnits(String text) {
            List<String> words = new ArrayList<>();
            try (HMMChineseTokenizer tokenizer = new HMMChineseTokenizer()) {
                // The tokenizer's own terms fold all punctuation into one sign; the text itself does not.
                OffsetAttribute word = tokenizer.addAttribute(OffsetAttribute.class);
                tokenizer.setReader(new StringReader(text));
                tokenizer.reset();
                while (tokenizer.incrementToken()) {
                    words.add(
                            text.substring(word.startOffset(), word.endOffset()).toLowerCase(Locale.ROOT));
                }
                tokenizer.end();
            } catch (IOException e) {
                throw new UncheckedIOException("a text in memory cannot be read", e);
            }
            return words;
        }

        @Override
        public List<String> bleuUnits(String text) {
            return text.strip().codePoints().mapToObj(Character::toString).toList();
        }
    },

    SPACED {
        @Override
        public List<String> rougeUnits(String text) {
            return BETWEEN_WORDS
                    .splitAsStream(text.toLowerCase(Locale.ROOT))
                    .filter(word -> !word.isEmpty())
                    .toList();
        }

        @Override
        public List<String> bleuUnits(String text) {
            return rougeUnits(text);
        }
    };

    // Marks belong to the letter before them, as vowel signs of Hindi do.
    private static final Pattern BETWEEN_WORDS = Pattern.compile("[^\\p{L}\\p{M}\\p{N}]+");

    /** The units that ROUGE counts, in order. */
    public abstract List<String> rougeUnits(String text);

    /** The units that BLEU counts, in order. */
    public abstract List<String> bleuUnits(String text);

    /** The language of a pair of texts: Chinese where either has a Chinese character, so that both are divided alike. */
    public static Segmentation of(String answer, String reference) {
        return hasChinese(answer) || hasChinese(reference) ? CHINESE : SPACED;
    }

    private static boolean hasChinese(String text) {
        return text.codePoints().anyMatch(c -> Character.UnicodeScript.of(c) == Character.UnicodeScript.HAN);
    }
}
