package org.shardloom.deploy.quickstart;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;

/**
 * A small task with one right answer to every question: numbers to English words, and words to numbers.
 *
 * <p>Every number from 0 to {@value #NUMBERS} (exclusive) belongs either to training, where it is asked both ways,
 * or to the held-out questions, where it is asked one way. A model can therefore answer a held-out question only by
 * composing what it learned from other numbers. The data is a pure function of the seed.
 */
public final class QuickstartTask {

    /** How many numbers there are: 0 to one less than this. */
    public static final int NUMBERS = 10_000;

    /** How many numbers, and so questions, are held out; half of them are asked each way. */
    public static final int HELD_OUT = 200;

    private static final String TO_WORDS = "Write the number in words";
    private static final String TO_DIGITS = "Write the number in digits";

    private static final List<String> UNDER_TWENTY = List.of(
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen");

    /** Entry i is the word for 10 * (i + 2). */
    private static final List<String> TENS =
            List.of("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety");

    private final List<Sample> train;
    private final List<Sample> heldOut;

    private QuickstartTask(List<Sample> train, List<Sample> heldOut) {
        this.train = List.copyOf(train);
        this.heldOut = List.copyOf(heldOut);
    }

    /**
     * One question and its answer, in the alpaca format.
     *
     * @param instruction what to do
     * @param input the number, in digits or in words
     * @param output the one right answer
     */
    public record Sample(String instruction, String input, String output) {

        /**
         * This sample as one line of a JSON lines file.
         *
         * @return a JSON object without a line break
         */
        public String toJson() {
            return "{\"instruction\": " + Json.quote(instruction) + ", \"input\": " + Json.quote(input)
                    + ", \"output\": " + Json.quote(output) + "}";
        }
    }

    /**
     * Makes the data set of a seed.
     *
     * @param seed chooses the held-out numbers and the order of the samples
     * @return the task; equal seeds give equal samples in equal order
     */
    public static QuickstartTask create(long seed) {
        Random random = new Random(seed);
        List<Integer> numbers = new ArrayList<>(NUMBERS);
        for (int number = 0; number < NUMBERS; number++) {
            numbers.add(number);
        }
        Collections.shuffle(numbers, random);

        List<Sample> heldOut = new ArrayList<>(HELD_OUT);
        for (int i = 0; i < HELD_OUT; i++) {
            heldOut.add(i % 2 == 0 ? toWords(numbers.get(i)) : toDigits(numbers.get(i)));
        }
        List<Sample> train = new ArrayList<>(2 * (NUMBERS - HELD_OUT));
        for (int number : numbers.subList(HELD_OUT, NUMBERS)) {
            train.add(toWords(number));
            train.add(toDigits(number));
        }
        Collections.shuffle(train, random);
        return new QuickstartTask(train, heldOut);
    }

    /**
     * The samples to train on, shuffled.
     *
     * @return an immutable list of 2 * ({@link #NUMBERS} - {@link #HELD_OUT}) samples
     */
    public List<Sample> train() {
        return train;
    }

    /**
     * The questions to test with; none of their numbers occurs in {@link #train()}.
     *
     * @return an immutable list of {@link #HELD_OUT} samples
     */
    public List<Sample> heldOut() {
        return heldOut;
    }

    /**
     * Names a number in English, without hyphens and without "and": 4071 is "four thousand seventy one".
     *
     * @param number at least 0, less than {@link #NUMBERS}
     * @return lower-case words separated by single blanks
     * @throws IllegalArgumentException if the number is out of range
     */
    public static String words(int number) {
        if (number < 0 || number >= NUMBERS) {
            throw new IllegalArgumentException("number must be from 0 to " + (NUMBERS - 1) + ", but is " + number);
        }
        if (number == 0) {
            return UNDER_TWENTY.get(0);
        }
        List<String> words = new ArrayList<>();
        if (number >= 1000) {
            words.add(UNDER_TWENTY.get(number / 1000));
            words.add("thousand");
        }
        if (number % 1000 >= 100) {
            words.add(UNDER_TWENTY.get(number % 1000 / 100));
            words.add("hundred");
        }
        int rest = number % 100;
        if (rest >= 20) {
            words.add(TENS.get(rest / 10 - 2));
            rest %= 10;
        }
        if (rest > 0) {
            words.add(UNDER_TWENTY.get(rest));
        }
        return String.join(" ", words);
    }

    /**
     * Every word of the instructions and of the numbers' names, each once; these deserve tokens of their own.
     *
     * @return the words in a fixed order
     */
    public static List<String> vocabulary() {
        Set<String> words = new LinkedHashSet<>(UNDER_TWENTY);
        words.addAll(TENS);
        words.add("hundred");
        words.add("thousand");
        words.addAll(List.of(TO_WORDS.split(" ")));
        words.addAll(List.of(TO_DIGITS.split(" ")));
        return List.copyOf(words);
    }

    private static Sample toWords(int number) {
        return new Sample(TO_WORDS, Integer.toString(number), words(number));
    }

    private static Sample toDigits(int number) {
        return new Sample(TO_DIGITS, words(number), Integer.toString(number));
    }
}
