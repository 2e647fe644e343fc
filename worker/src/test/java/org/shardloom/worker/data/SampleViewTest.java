package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

class SampleViewTest {
    @Test
    void runsOfGivenAndLearnedTokensAreLinesWithTheirText() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3)) {
            Sample sample = ChatTemplate.of(tokenizer)
                    .encode(List.of(Message.of(Role.USER, "你好"), Message.of(Role.ASSISTANT, "hello")), 64, 32);
            assertEquals(
                    List.of(
                            "  given      7: \"[gMASK]sop<|user|>\\n 你好\" 64790 64792 64795 30910 13 36474 54591",
                            "  learned    5: \"<|assistant|>\\n hello</s>\" 64796 30910 13 24954 2"),
                    SampleView.lines(sample, tokenizer));
        }
    }

    @Test
    void aLabelThatDiffersFromItsTokenIsShownWithIt() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm1"), Family.GLM1)) {
            Sample sample = new Sample(
                    new int[] {5, 74874, 130001, 130004, 4, 104},
                    new int[] {-100, -100, -100, 130004, 130005, 104},
                    false);
            assertEquals(
                    List.of(
                            "  given      3: \"你好[gMASK]\" 5 74874 130001",
                            "  learned    1: \"<sop>\" 130004",
                            "  learned    1: \"<eop>\" 130005, where \"<n>\" 4 stands",
                            "  learned    1: \"a\" 104"),
                    SampleView.lines(sample, tokenizer));
        }
    }

    @Test
    void withoutATokenizerThereAreOnlyIds() {
        Sample sample = new Sample(new int[] {7, 8, 9}, new int[] {-100, 5, 6}, false);
        assertEquals(
                List.of("  given      1: 7", "  learned    2: 5 6, where 8 9 stand"), SampleView.lines(sample, null));
    }
}
