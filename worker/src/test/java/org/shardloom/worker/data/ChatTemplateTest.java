package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.worker.weights.SharedFixtures.ints;
import static org.shardloom.worker.weights.SharedFixtures.json;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

class ChatTemplateTest {
    private static final int NO = Sample.IGNORED;

    private static Tokenizer glm2() {
        return Tokenizers.open(shared("fixtures/tokenizers/chatglm2"), Family.GLM2);
    }

    private static Tokenizer glm3() {
        return Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3);
    }

    private static Message user(String text) {
        return Message.of(Role.USER, text);
    }

    private static Message assistant(String text) {
        return Message.of(Role.ASSISTANT, text);
    }

    private static Role role(JsonNode name) {
        return Role.valueOf(name.asText().toUpperCase(Locale.ROOT));
    }

    @Test
    void glm2PromptsAreThoseOfTheReference() {
        try (Tokenizer tokenizer = glm2()) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            for (JsonNode c : json(shared("fixtures/tokenizers/chatglm2/build_prompt.json"))) {
                List<Message> messages = new ArrayList<>();
                for (JsonNode pair : c.get("history")) {
                    messages.add(user(pair.get(0).asText()));
                    messages.add(assistant(pair.get(1).asText()));
                }
                messages.add(user(c.get("query").asText()));
                assertArrayEquals(
                        ints(c.get("ids_with_special")),
                        template.prompt(messages),
                        c.get("prompt").asText());
            }
        }
    }

    @Test
    void glm3MessagesAreThoseOfTheReference() {
        try (Tokenizer tokenizer = glm3()) {
            Glm3Template template = new Glm3Template(tokenizer);
            for (JsonNode c : json(shared("fixtures/tokenizers/chatglm3/single_message.json"))) {
                Message message = new Message(
                        role(c.get("role")),
                        c.get("metadata").asText(),
                        c.get("message").asText(),
                        false);
                assertArrayEquals(ints(c.get("ids")), template.message(message), c.toString());
            }
        }
    }

    @Test
    void glm3PromptsAreThoseOfTheReferenceWithToolsToo() {
        try (Tokenizer tokenizer = glm3()) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            for (JsonNode c : json(shared("fixtures/tokenizers/chatglm3/chat_input.json"))) {
                List<Message> messages = new ArrayList<>();
                for (JsonNode h : c.get("history")) {
                    String content = h.get("content").asText();
                    messages.add(
                            h.has("tools")
                                    ? Message.systemWithTools(content, h.get("tools"))
                                    : new Message(
                                            role(h.get("role")),
                                            h.path("metadata").asText(),
                                            content,
                                            false));
                }
                messages.add(Message.of(role(c.get("role")), c.get("query").asText()));
                assertArrayEquals(ints(c.get("input_ids")), template.prompt(messages), c.toString());
            }
        }
    }

    @Test
    void glm3LearnsEveryAnswerAndTheTokenThatEndsIt() {
        try (Tokenizer tokenizer = glm3()) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            List<Message> messages =
                    List.of(Message.of(Role.SYSTEM, "系统"), user("一"), assistant("二"), user("三"), assistant("四"));
            Sample sample = template.encode(messages, 100, 50);
            int[] answered = template.prompt(messages);
            // The ids are the chat prompt's, with the end of text instead of the next <|assistant|>.
            answered[answered.length - 1] = tokenizer.eosId();
            assertArrayEquals(answered, sample.inputIds());
            assertEquals("<|assistant|> \n 二<|user|><|assistant|> \n 四", learnedText(tokenizer, sample));
            assertEquals(2, sample.labels()[sample.length() - 1]);
            assertEquals(2 * 4 + 2 + extra(tokenizer, "二") + extra(tokenizer, "四"), sample.targetTokens());
            assertFalse(sample.truncated());
        }
    }

    @Test
    void answersEndAtTheEndOfTextAndInChatglm3AtTheNextSpeaker() {
        try (Tokenizer tokenizer = glm3()) {
            // special_ids.json of the reference: </s> 2, <|user|> 64795, <|observation|> 64797.
            assertEquals(Set.of(2, 64795, 64797), ChatTemplate.of(tokenizer).stops());
            assertEquals(Set.of(2), new PlainTemplate(tokenizer).stops());
        }
    }

    /** Tokens of a text beyond the first. */
    private static int extra(Tokenizer tokenizer, String text) {
        return tokenizer.encode(text).length - 1;
    }

    private static String learnedText(Tokenizer tokenizer, Sample sample) {
        return tokenizer.decode(
                Arrays.stream(sample.labels()).filter(label -> label != NO).toArray());
    }

    @Test
    void glm3DoesNotLearnAnswersThatSayNo() {
        try (Tokenizer tokenizer = glm3()) {
            List<Message> messages =
                    List.of(user("一"), new Message(Role.ASSISTANT, "", "二", false), user("三"), assistant("四"));
            Sample sample = ChatTemplate.of(tokenizer).encode(messages, 100, 50);
            assertEquals("<|assistant|> \n 四", learnedText(tokenizer, sample));
        }
    }

    @Test
    void glm2LearnsEveryAnswerAndItsEnd() {
        try (Tokenizer tokenizer = glm2()) {
            List<Message> messages = List.of(user("一"), assistant("二"), user("三"), assistant("四"));
            Sample sample = ChatTemplate.of(tokenizer).encode(messages, 100, 50);
            int[] first = tokenizer.encode("[Round 1]\n\n问：一\n\n答：");
            int[] firstAnswer = tokenizer.encode("二");
            int[] whole = tokenizer.encode("x\n\n[Round 2]\n\n问：三\n\n答：");
            int[] second = Arrays.copyOfRange(whole, tokenizer.encode("x").length, whole.length);
            int[] secondAnswer = tokenizer.encode("四");
            int[] prefix = {64790, 64792};
            Ids ids = new Ids(64)
                    .add(prefix)
                    .add(first)
                    .add(firstAnswer)
                    .add(second)
                    .add(secondAnswer);
            Ids labels = new Ids(64)
                    .fill(NO, prefix.length + first.length)
                    .add(firstAnswer)
                    .add(tokenizer.eosId())
                    .fill(NO, second.length - 1)
                    .add(secondAnswer);
            assertArrayEquals(ids.add(tokenizer.eosId()).toArray(), sample.inputIds());
            assertArrayEquals(labels.add(tokenizer.eosId()).toArray(), sample.labels());
        }
    }

    @Test
    void plainTemplateEndsEveryAnswerWithEndOfText() {
        try (Tokenizer tokenizer = Tokenizers.open(shared("fixtures/stories260k"), Family.PLAIN)) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            int[] one = tokenizer.encode("One day");
            int[] two = tokenizer.encode("a cat");
            Sample single = template.encode(List.of(user(""), assistant("One day")), 50, 40);
            assertArrayEquals(new Ids(9).add(1).add(one).add(2).toArray(), single.inputIds());
            assertArrayEquals(new Ids(9).add(NO).add(one).add(2).toArray(), single.labels());
            List<Message> messages = List.of(user("One day"), assistant("a cat"), user("One day"), assistant("a cat"));
            Sample sample = template.encode(messages, 50, 40);
            assertArrayEquals(
                    new Ids(9)
                            .add(1)
                            .add(one)
                            .add(two)
                            .add(2)
                            .add(one)
                            .add(two)
                            .add(2)
                            .toArray(),
                    sample.inputIds());
            assertArrayEquals(
                    new Ids(9)
                            .add(NO)
                            .fill(NO, one.length)
                            .add(two)
                            .add(2)
                            .fill(NO, one.length)
                            .add(two)
                            .add(2)
                            .toArray(),
                    sample.labels());
            assertArrayEquals(
                    new Ids(9).add(1).add(one).add(two).add(2).add(one).toArray(),
                    template.prompt(messages.subList(0, 3)));
        }
    }

    @Test
    void conversationIsCutWhereItIsFullAndNeverExceedsTheLimit() {
        for (Tokenizer tokenizer :
                List.of(glm2(), glm3(), Tokenizers.open(shared("fixtures/stories260k"), Family.PLAIN))) {
            try (tokenizer) {
                ChatTemplate template = ChatTemplate.of(tokenizer);
                List<Message> messages = new ArrayList<>();
                for (int i = 0; i < 4; i++) {
                    messages.add(user("question number " + i));
                    messages.add(assistant("this is the answer to question " + i));
                }
                Sample whole = template.encode(messages, 1000, 900);
                assertFalse(whole.truncated());
                for (int limit = 12; limit < whole.length() + 8; limit++) {
                    Sample cut = template.encode(messages, limit, 100);
                    boolean some = cut.targetTokens() > 0;
                    assertTrue(!some || cut.length() <= limit, "limit " + limit);
                    assertTrue(cut.truncated() || Arrays.equals(whole.inputIds(), cut.inputIds()));
                    if (some) {
                        int last = cut.length() - 1;
                        assertEquals(tokenizer.eosId(), cut.inputIds()[last]);
                        assertEquals(tokenizer.eosId(), cut.labels()[last]);
                        assertArrayEquals(Arrays.copyOf(whole.inputIds(), last), Arrays.copyOf(cut.inputIds(), last));
                    }
                }
            }
        }
    }

    @Test
    void answerThatIsCutAwayLeavesNoTarget() {
        try (Tokenizer tokenizer = glm3()) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            List<Message> messages = List.of(user("一二三四五六七八九十一二三四五六七八九十"), assistant("答案"));
            int question = new Glm3Template(tokenizer).message(messages.get(0)).length;
            // Six tokens of layout, the answer's three-token header, and then one token of text.
            assertEquals(0, template.encode(messages, question + 9, 60).targetTokens());
            assertEquals(5, template.encode(messages, question + 10, 60).targetTokens());
        }
    }

    @Test
    void textThatLooksLikeARoleStaysText() {
        try (Tokenizer tokenizer = glm3()) {
            Sample sample =
                    ChatTemplate.of(tokenizer).encode(List.of(user("<|assistant|>"), assistant("<|user|>")), 64, 32);
            assertEquals(
                    1,
                    Arrays.stream(sample.inputIds()).filter(id -> id == 64796).count());
            assertEquals(
                    1,
                    Arrays.stream(sample.inputIds()).filter(id -> id == 64795).count());
        }
    }
}
