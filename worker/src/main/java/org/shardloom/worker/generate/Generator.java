package org.shardloom.worker.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.IntFunction;
import java.util.function.Predicate;
import org.shardloom.worker.model.KeyValueCache;

/**
 * Continues token sequences, several at a time: every step gives each of them its next token, and a sequence that has ended
 * leaves its place to the next prompt. What follows a prompt does not depend on the others. One thread.
 */
public final class Generator {
    /** Tokens that a prompt has at least: of a source that attends to itself both ways one, and two that say where it ends. */
    private static final int SHORTEST = 3;

    private final TokenModel model;
    private final int vocabulary;
    private final Set<Integer> stops;
    private final SamplingOptions options;
    private final Limits limits;
    private final Predicate<int[]> enough;

    /**
     * What a generator may use at a time.
     *
     * @param sequences most sequences
     * @param stepTokens most tokens of a step: longer prompts are read in several, which bounds the activations
     * @param cacheBytes most bytes of keys and values; one sequence may take more
     */
    record Limits(int sequences, int stepTokens, long cacheBytes) {
        static final Limits DEFAULT = new Limits(64, 1024, 1L << 30);
    }

    /**
     * A generator that ends a sequence at any of the stop tokens.
     *
     * @param vocabulary only ids below are chosen: a model may have more rows than its tokenizer has tokens
     * @param stops ids; may be empty
     */
    public Generator(TokenModel model, int vocabulary, Set<Integer> stops, SamplingOptions options) {
        this(model, vocabulary, stops, options, Limits.DEFAULT);
    }

    Generator(TokenModel model, int vocabulary, Set<Integer> stops, SamplingOptions options, Limits limits) {
        this(model, vocabulary, stops, options, limits, tokens -> false);
    }

    private Generator(
            TokenModel model,
            int vocabulary,
            Set<Integer> stops,
            SamplingOptions options,
            Limits limits,
            Predicate<int[]> enough) {
        this.model = model;
        this.vocabulary = vocabulary;
        this.stops = Set.copyOf(stops);
        this.options = options;
        this.limits = limits;
        this.enough = enough;
    }

    /**
     * The same that also ends a sequence, with {@link Continuation.End#STOP}, after the token with which its new tokens are enough.
     *
     * @param condition is shown the new tokens after each of them
     */
    public Generator endingWith(Predicate<int[]> condition) {
        return new Generator(model, vocabulary, stops, options, limits, condition);
    }

    /** What follows each prompt, as {@link #generate(List, int, BiConsumer)} finds it. */
    public List<Continuation> generate(List<int[]> prompts, int maxNewTokens) {
        Continuation[] continuations = new Continuation[prompts.size()];
        generate(prompts, maxNewTokens, (prompt, continuation) -> continuations[prompt] = continuation);
        return Arrays.asList(continuations);
    }

    /**
     * Finds what follows each prompt; at most that many tokens, and as far as the model has positions.
     *
     * @param finished gets a prompt's number, from 0, and what follows it, when that is complete; in any order
     * @throws IllegalArgumentException before anything else when a prompt is empty or too long, or has an id that the model does
     *     not know
     */
    public void generate(List<int[]> prompts, int maxNewTokens, BiConsumer<Integer, Continuation> finished) {
        prompts.forEach(model::check);
        Deque<Sequence> waiting = new ArrayDeque<>();
        for (int i = 0; i < prompts.size(); i++) {
            if (maxNewTokens > 0) {
                waiting.add(new Sequence(i, prompts.get(i), new Sampler(options, i), maxNewTokens));
            } else {
                finished.accept(i, new Continuation(new int[0], Continuation.End.LENGTH));
            }
        }
        if (waiting.isEmpty()) {
            return;
        }
        int capacity = capacity(waiting);
        Sequence[] places = new Sequence[places(waiting.size(), capacity)];
        try (KeyValueCache cache = model.newCache(places.length, capacity)) {
            while (fill(places, waiting, cache)) {
                step(places, cache);
                for (int i = 0; i < places.length; i++) {
                    if (places[i] != null && places[i].end != null) {
                        finished.accept(places[i].number, places[i].continuation());
                        places[i] = null;
                    }
                }
            }
        }
    }

    /**
     * Does of {@link #generate} what takes most memory: makes its cache, and reads at once as much as one step may.
     *
     * @param maxNewTokens at least one
     */
    public void rehearse(List<int[]> prompts, int maxNewTokens) {
        List<int[]> first = new ArrayList<>(prompts);
        first.sort(Comparator.comparingInt((int[] prompt) -> prompt.length).reversed());
        int capacity = mostInCache(first.get(0).length, maxNewTokens);
        int slots = places(first.size(), capacity);
        if (model.config().markers() != null) {
            // Whole prompts are read while there is room: most at once when the longest comes last. One is cut, for
            // those that fill it best.
            int[] longest = first.remove(0);
            int room = limits.stepTokens - 1;
            List<int[]> before = new ArrayList<>();
            for (int i = 0; i < Math.min(slots - 1, first.size()) && room >= SHORTEST; i++) {
                int[] prompt = end(first.get(i), room);
                before.add(prompt);
                room -= prompt.length;
            }
            before.add(longest);
            first = before;
        }
        rehearse(first.subList(0, Math.min(slots, first.size())), slots, capacity, maxNewTokens);
    }

    /**
     * Does in turn all that may take most memory with any prompts: fewer long ones, or more that are shorter, as many as the cache has
     * room for.
     *
     * @param count of prompts
     * @param longest tokens of the longest
     * @param prompt one of that many tokens
     * @param maxNewTokens at least one
     */
    public void rehearse(int count, int longest, IntFunction<int[]> prompt, int maxNewTokens) {
        int most = mostInCache(longest, maxNewTokens);
        for (int slots = places(count, most); slots <= Math.min(count, limits.sequences); slots++) {
            int capacity = slots == 1 ? most : (int) Math.min(most, roomFor(slots));
            int each = capacity == most ? longest : capacity - maxNewTokens + 1;
            if (each < SHORTEST) {
                return;
            }
            List<int[]> prompts = new ArrayList<>();
            boolean whole = model.config().markers() != null;
            int room = limits.stepTokens;
            for (int later = slots - 1; later >= 0; later--) {
                int kept = SHORTEST * (later - 1) + 1; // the last is read whole where there is room for one token
                int length = whole && later > 0 ? Math.max(SHORTEST, Math.min(each, room - kept)) : each;
                prompts.add(prompt.apply(length));
                room -= length;
            }
            rehearse(prompts, slots, capacity, maxNewTokens);
        }
    }

    /** The last tokens of a prompt, at most so many; the whole where these do not say where its source ends. */
    private int[] end(int[] prompt, int most) {
        int[] last = Arrays.copyOfRange(prompt, Math.max(0, prompt.length - most), prompt.length);
        int start = model.config().markers().start();
        return Arrays.stream(last).skip(1).anyMatch(id -> id == start) ? last : prompt;
    }

    private void rehearse(List<int[]> prompts, int slots, int capacity, int maxNewTokens) {
        Deque<Sequence> waiting = new ArrayDeque<>();
        prompts.forEach(prompt -> waiting.add(new Sequence(0, prompt, new Sampler(options, 0), maxNewTokens)));
        Sequence[] places = new Sequence[slots];
        try (KeyValueCache cache = model.newCache(slots, capacity)) {
            fill(places, waiting, cache);
            step(places, cache);
        }
    }

    private static int capacity(Deque<Sequence> waiting) {
        return waiting.stream().mapToInt(Sequence::mostInCache).max().orElseThrow();
    }

    /** How many sequences there are at a time. */
    private int places(int waiting, int capacity) {
        long fit = limits.cacheBytes / ((capacity + model.adapters().prefixLength()) * model.cacheBytesPerToken());
        return (int) Math.max(1, Math.min(fit, Math.min(limits.sequences, waiting)));
    }

    /** Tokens that each of so many sequences may have at most. */
    private long roomFor(int places) {
        return limits.cacheBytes / (places * model.cacheBytesPerToken())
                - model.adapters().prefixLength();
    }

    /** The last new token is not read. */
    private int mostInCache(int prompt, int maxNewTokens) {
        return (int) Math.min(model.positions(), (long) prompt + maxNewTokens - 1);
    }

    /**
     * Continues one prompt.
     *
     * @param soFar is shown the new tokens after each of them, and what it is shown stays as it is
     */
    public Continuation stream(int[] prompt, int maxNewTokens, Consumer<int[]> soFar) {
        model.check(prompt);
        Sequence sequence = new Sequence(0, prompt, new Sampler(options, 0), maxNewTokens);
        Sequence[] places = {sequence};
        try (KeyValueCache cache = model.newCache(1, sequence.mostInCache())) {
            while (sequence.end == null) {
                int known = sequence.count;
                step(places, cache);
                if (sequence.count > known) {
                    soFar.accept(sequence.continuation().tokens());
                }
            }
        }
        return sequence.continuation();
    }

    /** Gives free places to waiting sequences; false when none is left. */
    private static boolean fill(Sequence[] places, Deque<Sequence> waiting, KeyValueCache cache) {
        boolean any = false;
        for (int i = 0; i < places.length; i++) {
            if (places[i] == null && !waiting.isEmpty()) {
                places[i] = waiting.remove();
                cache.clear(i);
            }
            any |= places[i] != null;
        }
        return any;
    }

    private void step(Sequence[] places, KeyValueCache cache) {
        List<Integer> taking = new ArrayList<>();
        List<int[]> tokens = new ArrayList<>();
        int room = limits.stepTokens;
        for (int i = 0; i < places.length && room > 0; i++) {
            if (places[i] != null) {
                tokens.add(places[i].read(room));
                taking.add(i);
                room -= tokens.get(tokens.size() - 1).length;
            }
        }
        float[][] logits =
                model.extend(cache, taking.stream().mapToInt(Integer::intValue).toArray(), tokens);
        for (int k = 0; k < logits.length; k++) {
            Sequence sequence = places[taking.get(k)];
            if (sequence.read == sequence.count) {
                sequence.choose(logits[k]);
            }
        }
    }

    private final class Sequence {
        private final int number;
        private final Sampler sampler;
        private final int promptLength;
        private final int most;
        private int[] tokens;
        private int count;
        /** How many of the tokens the model has read. */
        private int read;

        private Continuation.End end;

        Sequence(int number, int[] prompt, Sampler sampler, int maxNewTokens) {
            this.number = number;
            this.sampler = sampler;
            this.promptLength = prompt.length;
            this.most = maxNewTokens;
            this.tokens = prompt.clone();
            this.count = prompt.length;
        }

        int mostInCache() {
            return Generator.this.mostInCache(promptLength, most);
        }

        /** Tokens of a source that attend to each other both ways are read together, however many. */
        int[] read(int atMost) {
            int from = read;
            boolean together = from == 0 && model.config().markers() != null;
            read = together ? count : Math.min(count, read + atMost);
            return Arrays.copyOfRange(tokens, from, read);
        }

        void choose(float[] logits) {
            if (vocabulary < logits.length) {
                Arrays.fill(logits, vocabulary, logits.length, Float.NEGATIVE_INFINITY);
            }
            int next = sampler.next(logits, tokens, count);
            if (stops.contains(next)) {
                end = Continuation.End.STOP;
                return;
            }
            if (count == tokens.length) {
                tokens = Arrays.copyOf(tokens, 2 * count);
            }
            tokens[count++] = next;
            if (enough.test(Arrays.copyOfRange(tokens, promptLength, count))) {
                end = Continuation.End.STOP;
            } else if (count - promptLength == most) {
                end = Continuation.End.LENGTH;
            } else if (count > model.positions()) {
                end = Continuation.End.POSITIONS;
            }
        }

        Continuation continuation() {
            return new Continuation(Arrays.copyOfRange(tokens, promptLength, count), end);
        }
    }
}
