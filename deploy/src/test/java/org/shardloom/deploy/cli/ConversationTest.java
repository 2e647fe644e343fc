package org.shardloom.deploy.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.shardloom.deploy.e2e.TinyJob;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.data.Glm3Template;
import org.shardloom.worker.data.Message;
import org.shardloom.worker.data.Role;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.generate.StopTexts;
import org.shardloom.worker.generate.TokenModel;
import org.shardloom.worker.model.Adapters;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.KeyValueCache;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** Turns of a conversation with ChatGLM3's words and a model that says what it is told to. */
class ConversationTest {
    private static final int VOCABULARY = 65024;
    private static final int POSITIONS = 400;
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Tokenizer words = Tokenizers.open(TinyJob.shared("fixtures/tokenizers/chatglm3"), Family.GLM3);
    private final Glm3Template template = new Glm3Template(words);
    private final Parrot parrot = new Parrot();
    private final StringWriter said = new StringWriter();
    private JsonNode tools;

    @BeforeEach
    void offer() throws Exception {
        tools = JSON.readTree(
                "[{\"name\": \"get_weather\"}, {\"type\": \"function\", \"function\": {\"name\": \"track\"}}]");
    }

    @AfterEach
    void close() {
        words.close();
        parrot.device.close();
    }

    /** Says the tokens of its script whatever it reads, and remembers what it read before each answer. */
    private final class Parrot implements TokenModel {
        final CpuDevice device = new CpuDevice(1);
        final Deque<Integer> script = new ArrayDeque<>();
        final List<int[]> prompts = new ArrayList<>();
        private boolean fresh;

        /** The model's next answer: what follows the assistant's token in a message, and the token that ends it. */
        void answers(Message message, String end) {
            int[] tokens = template.message(message);
            Arrays.stream(tokens, template.answerHeader(), tokens.length).forEach(script::add);
            script.add(words.specialId(end).isPresent() ? words.specialId(end).getAsInt() : words.eosId());
        }

        @Override
        public DecoderConfig config() {
            AttentionShape heads = new AttentionShape(1, 1, 8, 4, true);
            return new DecoderConfig(
                    DecoderConfig.Names.CHATGLM, VOCABULARY, 8, 1, heads, 8, 1e-5f, 1e4, POSITIONS, true, false);
        }

        @Override
        public Adapters adapters() {
            return Adapters.NONE;
        }

        @Override
        public int positions() {
            return POSITIONS;
        }

        @Override
        public long cacheBytesPerToken() {
            return 1;
        }

        @Override
        public KeyValueCache newCache(int slots, int capacity) {
            fresh = true;
            return new KeyValueCache(config(), device, DType.F32, slots, capacity);
        }

        @Override
        public float[][] extend(KeyValueCache cache, int[] slots, List<int[]> tokens) {
            if (fresh) {
                prompts.add(tokens.get(0));
                fresh = false;
            }
            float[][] logits = new float[1][VOCABULARY];
            logits[0][script.remove()] = 1;
            return logits;
        }
    }

    private Conversation conversation(JsonNode offered, String... stops) {
        StopTexts texts = new StopTexts(List.of(stops), words::decode);
        Generator generator = new Generator(parrot, words.vocabularySize(), template.stops(), SamplingOptions.GREEDY)
                .endingWith(texts::reached);
        return new Conversation(generator, texts, words, template, null, offered, 100);
    }

    private String say(Conversation conversation, String text) {
        said.getBuffer().setLength(0);
        conversation.say(text, new PrintWriter(said, true));
        return said.toString();
    }

    private void assertLastPrompt(Message... messages) {
        assertArrayEquals(template.prompt(List.of(messages)), parrot.prompts.get(parrot.prompts.size() - 1));
    }

    private static Message answer(String text) {
        return Message.of(Role.ASSISTANT, text);
    }

    @Test
    void aCallAsksForItsResultAndGoesOnAsInTraining() {
        Message system = Message.systemWithTools(Message.TOOLS_ANNOUNCED, tools);
        Message question = Message.of(Role.USER, "北京天气如何？");
        for (String tool : List.of("get_weather", "track")) {
            Message call = Message.toolCall(tool, JSON.createObjectNode().put("city", "北京"), true);
            Conversation conversation = conversation(tools);
            assertFalse(conversation.awaitsResult());
            parrot.answers(call, "<|observation|>");
            String heard = say(conversation, question.content());
            assertTrue(heard.contains("tool_call(city='北京')"), heard);
            assertTrue(heard.endsWith("(the model calls the tool " + tool + "; say its result)\n"), heard);
            assertLastPrompt(system, question);
            assertTrue(conversation.awaitsResult());

            parrot.answers(answer("今天3度。"), "<|user|>");
            assertEquals("今天3度。\n", say(conversation, "{\"t\":  3}"));
            Message result = Message.of(Role.OBSERVATION, "{\"t\": 3}");
            assertLastPrompt(system, question, call, result);
            assertFalse(conversation.awaitsResult());

            parrot.answers(answer("不客气"), "<|user|>");
            say(conversation, "谢谢");
            assertLastPrompt(system, question, call, result, answer("今天3度。"), Message.of(Role.USER, "谢谢"));
            conversation.clear();
            parrot.answers(answer("好"), "<|user|>");
            say(conversation, "再见");
            assertLastPrompt(system, Message.of(Role.USER, "再见"));
        }
    }

    @Test
    void resultsThatAreNoObjectsAreTextsAsTheyAre() {
        for (String result : List.of("晴，3度", "3", "{\"t\": ", "true")) {
            Conversation conversation = conversation(tools);
            Message call = Message.toolCall("track", JSON.createObjectNode(), true);
            parrot.answers(call, "<|observation|>");
            say(conversation, "q");
            parrot.answers(answer("a"), "<|user|>");
            say(conversation, result);
            assertLastPrompt(
                    Message.systemWithTools(Message.TOOLS_ANNOUNCED, tools),
                    Message.of(Role.USER, "q"),
                    call,
                    Message.of(Role.OBSERVATION, result));
        }
    }

    @Test
    void proseThatLooksLikeACallIsNone() {
        // A list with a heading, one with a heading of one word, and a tool that nobody has offered.
        for (String text : List.of("步骤如下：\n1. 打开", "步骤\n1. 打开", "stroll\n```python\ntool_call()\n```")) {
            Conversation conversation = conversation(tools);
            int line = text.indexOf('\n');
            parrot.answers(
                    new Message(Role.ASSISTANT, text.substring(0, line), text.substring(line + 1), true), "<|user|>");
            String heard = say(conversation, "q");
            assertFalse(heard.contains("the model calls"), heard);
            assertFalse(conversation.awaitsResult(), text);
        }
    }

    @Test
    void withoutToolsNoFirstLineIsAName() {
        Conversation conversation = conversation(null);
        parrot.answers(Message.toolCall("get_weather", JSON.createObjectNode(), true), "<|observation|>");
        assertFalse(say(conversation, "q").contains("the model calls"));
        assertFalse(conversation.awaitsResult());
    }

    @Test
    void anAnswerEndsBeforeAStopTextOfWhichNothingIsShown() {
        Conversation conversation = conversation(null, "##", "后天");
        parrot.answers(answer("今天3度。明天#1度，后##天"), "</s>");
        assertEquals("今天3度。明天#1度，后\n", say(conversation, "天气？"));
        assertTrue(!parrot.script.isEmpty(), "the end is not generated any more");
        parrot.script.clear();
        parrot.answers(answer("后"), "</s>");
        assertEquals("后\n", say(conversation, "再说"));
        assertLastPrompt(Message.of(Role.USER, "天气？"), answer("今天3度。明天#1度，后"), Message.of(Role.USER, "再说"));
        parrot.answers(answer("大后天"), "</s>");
        assertEquals("大\n", say(conversation, "何时？"));
    }

    @Test
    void aFirstLineThatIsEmptyIsNoNameThoughBlanksAreNotShown() {
        Conversation conversation = conversation(tools, "\n\n");
        parrot.answers(answer("get_weather\ntext"), "</s>");
        assertEquals("get_weather\ntext\n", say(conversation, "q"));
        assertFalse(conversation.awaitsResult());
    }

    @Test
    void whatDoesNotFitIsNotSaid() {
        Conversation conversation = conversation(null);
        String heard = say(conversation, "长".repeat(POSITIONS));
        assertTrue(heard.startsWith("this does not fit any more") && heard.contains("/clear"), heard);
        parrot.answers(answer("a"), "</s>");
        assertEquals("a\n", say(conversation, "q"));
        assertLastPrompt(Message.of(Role.USER, "q"));
    }
}
