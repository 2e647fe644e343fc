package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.worker.weights.SharedFixtures.ints;
import static org.shardloom.worker.weights.SharedFixtures.json;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** ChatGLM-6B's conversations; the samples of single questions are compared in {@link ReferenceSamplesTest}. */
class Glm1TemplateTest {
    private static final int MASK = 130001;
    private static final int START = 130004;
    private static final int END = 130005;

    private static Tokenizer tokenizer;
    private static ChatTemplate template;

    @TempDir
    Path temp;

    @BeforeAll
    static void open() {
        tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm1"), Family.GLM1);
        template = ChatTemplate.of(tokenizer);
    }

    @AfterAll
    static void close() {
        if (tokenizer != null) {
            tokenizer.close();
        }
    }

    private static Message user(String text) {
        return Message.of(Role.USER, text);
    }

    private static Message assistant(String text) {
        return Message.of(Role.ASSISTANT, text);
    }

    /** Source, [gMASK] and a target from its parts, with its labels. */
    private static void assertSample(String source, String answer, Sample sample) {
        int[] sourceIds = tokenizer.encode(source);
        int[] target =
                new Ids(9).add(START).add(tokenizer.encode(answer)).add(END).toArray();
        assertArrayEquals(new Ids(9).add(sourceIds).add(MASK).add(target).toArray(), sample.inputIds());
        assertArrayEquals(
                new Ids(9)
                        .fill(Sample.IGNORED, sourceIds.length + 1)
                        .add(target)
                        .toArray(),
                sample.labels());
    }

    @Test
    void promptsAreThoseOfTheReference() {
        int checked = 0;
        for (JsonNode c : json(shared("fixtures/tokenizers/chatglm1/chat_prompt.json"))) {
            List<Message> messages = new ArrayList<>();
            for (JsonNode pair : c.get("history")) {
                messages.add(user(pair.get(0).asText()));
                messages.add(assistant(pair.get(1).asText()));
            }
            messages.add(user(c.get("query").asText()));
            String prompt = c.get("prompt").asText();
            // Our prompts never take text for special tokens; the reference does.
            boolean typed = !Arrays.equals(tokenizer.encode(prompt), tokenizer.encodeWithSpecials(prompt));
            int[] suffix = {MASK, START};
            assertArrayEquals(
                    typed
                            ? new Ids(9)
                                    .add(tokenizer.encode(prompt))
                                    .add(suffix)
                                    .toArray()
                            : ints(c.get("ids_with_special")),
                    template.prompt(messages),
                    prompt);
            assertArrayEquals(ints(c.get("ids")), tokenizer.encodeWithSpecials(prompt), prompt);
            checked += typed ? 0 : 1;
        }
        assertTrue(checked >= 4, checked + " prompts");
    }

    @Test
    void everyLearnedAnswerIsASampleWithWhatIsBeforeAsSource() {
        List<Message> messages = List.of(
                Message.of(Role.SYSTEM, "系统"),
                user("一"),
                assistant("二"),
                user("三"),
                new Message(Role.ASSISTANT, "", "四", false),
                user("五"),
                assistant("六"));
        List<Sample> samples = template.samples(messages, 100, 90);
        assertEquals(2, samples.size());
        assertSample("系统\n[Round 1]\n问：一\n答：", "二", samples.get(0));
        String three = "系统\n[Round 0]\n问：一\n答：二\n[Round 1]\n问：三\n答：四\n[Round 2]\n问：五\n答：";
        assertSample(three, "六", samples.get(1));
        assertFalse(samples.get(1).truncated());
        assertArrayEquals(
                samples.get(1).inputIds(), template.encode(messages, 100, 90).inputIds());
        int[] prompt = template.prompt(messages.subList(0, 6));
        assertArrayEquals(prompt, Arrays.copyOf(samples.get(1).inputIds(), prompt.length));
    }

    @Test
    void modelsThatWereTrainedSoAreAskedAsInTraining() {
        List<Message> question = List.of(user("你好吗"));
        int[] chat = template.prompt(question);
        int[] trained = ChatTemplate.of(tokenizer, true).prompt(question);
        assertFalse(Arrays.equals(chat, trained));
        Sample sample = template.encode(List.of(user("你好吗"), assistant("好")), 100, 90);
        assertArrayEquals(trained, Arrays.copyOf(sample.inputIds(), trained.length));
        assertEquals(START, trained[trained.length - 1]);
    }

    @Test
    void conversationOfWhichNothingIsLearnedHasOneSampleWithoutTargets() {
        List<Sample> samples =
                template.samples(List.of(user("一"), new Message(Role.ASSISTANT, "", "二", false)), 100, 90);
        assertEquals(1, samples.size());
        assertEquals(0, samples.get(0).targetTokens());
    }

    @Test
    void oldestRoundsGiveWayAndThenTheQuestionIsCut() {
        List<Message> messages = List.of(
                user("第一个问题"), assistant("第一个回答"), user("第二个问题"), assistant("二"), user("第三个问题"), assistant("三"));
        String last = "[Round 0]\n问：第二个问题\n答：二\n[Round 1]\n问：第三个问题\n答：";
        int limit = tokenizer.encode(last).length;
        Sample whole = template.encode(messages, 200, 150);
        Sample two = template.encode(messages, 200, limit);
        assertFalse(whole.truncated());
        assertTrue(two.truncated());
        assertSample(last, "三", two);
        Sample one = template.encode(messages, 200, limit - 1);
        assertTrue(one.truncated());
        assertSample("[Round 1]\n问：第三个问题\n答：", "三", one);
        int[] cut = template.encode(messages, 200, 8).inputIds();
        int[] alone = tokenizer.encode("[Round 1]\n问：第三个问题\n答：");
        assertArrayEquals(
                new Ids(9)
                        .add(alone, 5)
                        .add(Arrays.copyOfRange(alone, alone.length - 3, alone.length))
                        .add(MASK)
                        .add(START)
                        .toArray(),
                Arrays.copyOf(cut, 10));
    }

    @Test
    void samplesNeverExceedTheLimitAndWithoutRoomForTheAnswerHaveNoTarget() {
        List<Message> messages = List.of(user("一二三四五"), assistant("this is the answer to the question"));
        Sample whole = template.encode(messages, 1000, 900);
        int source = whole.sourceTokens();
        for (int limit = 9; limit <= whole.length(); limit++) {
            Sample cut = template.encode(messages, limit, 100);
            assertEquals(limit < whole.length(), cut.truncated());
            // One token each for <sop>, the answer and <eop>.
            boolean some = limit >= source + 3;
            assertEquals(some ? limit - source : 0, cut.targetTokens(), "limit " + limit);
            if (some) {
                assertEquals(limit, cut.length());
                assertEquals(END, cut.inputIds()[limit - 1]);
            }
        }
    }

    @Test
    void textThatLooksLikeASpecialTokenStaysText() {
        Sample sample = template.encode(List.of(user("<sop>[gMASK]"), assistant("<eop>[MASK]")), 64, 32);
        for (int special : new int[] {MASK, START, END}) {
            assertEquals(
                    1,
                    Arrays.stream(sample.inputIds()).filter(id -> id == special).count());
        }
        assertThrows(IllegalArgumentException.class, () -> template.prompt(List.of(user("a"), assistant("b"))));
    }

    @Test
    void aRecordOfSeveralAnswersBecomesSeveralSamplesOfTheDataSet() throws Exception {
        Path file = Files.writeString(
                temp.resolve("a.jsonl"),
                "{\"instruction\":\"三\",\"output\":\"四\",\"history\":[[\"一\",\"二\"]]}\n"
                        + "{\"instruction\":\"五\",\"output\":\"六\"}\n");
        Dataset dataset = DatasetBuilder.forText(new DataOptions(DataFormat.ALPACA, 100, 90, true, 130528), template)
                .build(List.of(file));
        assertEquals(3, dataset.size());
        assertSample("[Round 1]\n问：一\n答：", "二", dataset.sample(0));
        assertSample("[Round 0]\n问：一\n答：二\n[Round 1]\n问：三\n答：", "四", dataset.sample(1));
        assertSample("[Round 1]\n问：五\n答：", "六", dataset.sample(2));
    }
}
