package org.shardloom.worker.tokenizer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

class ByteTrieTest {
    private static final long SEED = Long.getLong("shardloom.seed", 20260401L);

    /** Few letters, so that many strings begin alike; one of them is not ASCII. */
    private static String randomString(Random random) {
        StringBuilder text = new StringBuilder();
        for (int i = random.nextInt(10); i >= 0; i--) {
            text.append("abcé".charAt(random.nextInt(4)));
        }
        return text.toString();
    }

    private static int find(ByteTrie trie, String key) {
        int node = ByteTrie.ROOT;
        for (byte b : key.getBytes(StandardCharsets.UTF_8)) {
            node = trie.next(node, b);
            if (node < 0) {
                return -1;
            }
        }
        return trie.value(node);
    }

    @Test
    void findsWhatAMapFindsAndNothingElse() {
        Random random = new Random(SEED);
        ByteTrie trie = new ByteTrie();
        Map<String, Integer> map = new HashMap<>();
        for (int i = 0; i < 20_000; i++) {
            String key = randomString(random);
            map.put(key, i);
            trie.put(key.getBytes(StandardCharsets.UTF_8), i);
        }
        for (int i = 0; i < 20_000; i++) {
            String key = randomString(random);
            assertEquals(map.getOrDefault(key, -1), find(trie, key), key + ", seed " + SEED);
        }
        map.forEach((key, value) -> assertEquals(value, find(trie, key), key + ", seed " + SEED));
        assertEquals(-1, find(trie, ""));
    }
}
