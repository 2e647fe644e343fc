package org.shardloom.worker.plan;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * GPUs as a user names them: {@code 4x24GiB}, {@code 8xa100-80gb}, {@code rtx4090}.
 *
 * @param count of them, one for each worker; 0 where the text does not say
 * @param memoryBytes of each
 * @param card whose rates are taken for estimates
 * @param named whether the text names the card, rather than a size of memory
 */
public record Gpus(int count, long memoryBytes, Card card, boolean named) {
    private static final Pattern TEXT = Pattern.compile("(?:(\\d{1,4})x)?(.+)");
    private static final Pattern SIZE = Pattern.compile("(\\d+(?:\\.\\d+)?)(gib|gb)");

    /**
     * Rates from the makers' data sheets, dense, per card. They are upper bounds; {@link StepEstimate} says what is expected of them.
     *
     * @param key as a user writes it
     * @param gib memory
     * @param halfTeraflops matrix products of 16-bit operands with fp32 sums
     * @param singleTeraflops matrix products of fp32
     * @param memoryGigabytes per second
     * @param hostGigabytes per second between host and card, each way
     * @param peerGigabytes per second that a card sends to others
     */
    public record Card(
            String key,
            double gib,
            double halfTeraflops,
            double singleTeraflops,
            double memoryGigabytes,
            double hostGigabytes,
            double peerGigabytes) {}

    /** Of compute capability 8.0 and newer: the kernels need no less. */
    private static final List<Card> CARDS = List.of(
            new Card("rtx3090", 24, 71, 35.6, 936, 24, 20),
            new Card("a10", 24, 125, 31.2, 600, 24, 20),
            new Card("rtx4090", 24, 165, 82.6, 1008, 24, 20),
            new Card("a100-40gb", 40, 312, 19.5, 1555, 24, 280),
            new Card("l40s", 48, 362, 91.6, 864, 24, 20),
            new Card("a100-80gb", 80, 312, 19.5, 2039, 24, 280),
            new Card("h100-80gb", 80, 989, 67, 3350, 50, 420),
            new Card("h200-141gb", 141, 989, 67, 4800, 50, 420));

    /** Names that NVIDIA's driver gives cards, without its makers' words; cards of other forms (PCIe, Ti, ...) have other rates. */
    private static final Map<String, String> NAMES = Map.ofEntries(
            Map.entry("RTX 3090", "rtx3090"),
            Map.entry("A10", "a10"),
            Map.entry("RTX 4090", "rtx4090"),
            Map.entry("A100-SXM4-40GB", "a100-40gb"),
            Map.entry("A100-PCIE-40GB", "a100-40gb"),
            Map.entry("A100-SXM4-80GB", "a100-80gb"),
            Map.entry("L40S", "l40s"),
            Map.entry("H100 80GB HBM3", "h100-80gb"),
            Map.entry("H200", "h200-141gb"));

    /** The card that the driver calls so, as in {@code NVIDIA A100-SXM4-80GB}; nothing where its rates are not known. */
    public static Optional<Card> cardNamed(String driversName) {
        String name = driversName.strip();
        for (String word : List.of("NVIDIA ", "Tesla ", "GeForce ")) {
            name = name.startsWith(word) ? name.substring(word.length()) : name;
        }
        return Optional.ofNullable(NAMES.get(name)).flatMap(Gpus::card);
    }

    /** The card of the key, as a user writes it. */
    public static Optional<Card> card(String key) {
        return CARDS.stream().filter(card -> card.key.equals(key)).findFirst();
    }

    /** Keys of all cards. */
    public static List<String> cardKeys() {
        return CARDS.stream().map(Card::key).toList();
    }

    /** So many GPUs of that memory, with the rates of the slowest card that has as much. */
    public static Gpus of(int count, long memoryBytes) {
        return new Gpus(count, memoryBytes, like(memoryBytes), false);
    }

    /**
     * Reads such a text.
     *
     * @throws IllegalArgumentException that says what is understood
     */
    public static Gpus parse(String text) {
        Matcher parts = TEXT.matcher(text.strip().toLowerCase(Locale.ROOT));
        if (parts.matches()) {
            int count = parts.group(1) == null ? 0 : Integer.parseInt(parts.group(1));
            String what = parts.group(2);
            Matcher size = SIZE.matcher(what);
            if (size.matches()) {
                double unit = size.group(2).equals("gib") ? 1L << 30 : 1e9;
                long bytes = (long) (Double.parseDouble(size.group(1)) * unit);
                if (bytes > 0 && (parts.group(1) == null || count > 0)) {
                    return new Gpus(count, bytes, like(bytes), false);
                }
            }
            for (Card card : CARDS) {
                if (card.key.equals(what) && (parts.group(1) == null || count > 0)) {
                    return new Gpus(count, (long) (card.gib * (1L << 30)), card, true);
                }
            }
        }
        throw new IllegalArgumentException("'" + text
                + "' names no GPUs; write a number and a size of memory, such as 4x24GiB, or one of "
                + Arrays.stream(CARDS.toArray(Card[]::new)).map(Card::key).collect(Collectors.joining(", ")));
    }

    /** The slowest card that is not smaller, or else the largest. */
    private static Card like(long bytes) {
        return CARDS.stream()
                .filter(card -> card.gib * (1L << 30) >= bytes * 0.97)
                .findFirst()
                .orElse(CARDS.get(CARDS.size() - 1));
    }
}
