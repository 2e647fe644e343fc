package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.shardloom.worker.weights.SharedFixtures.ints;
import static org.shardloom.worker.weights.SharedFixtures.json;
import static org.shardloom.worker.weights.SharedFixtures.shared;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;

/** Tool calls in ChatGLM3's format. */
class ToolCallsTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final int ASSISTANT = 64796;
    private static final int OBSERVATION = 64797;

    private static Tokenizer tokenizer;

    @TempDir
    Path temp;

    @BeforeAll
    static void open() {
        tokenizer = Tokenizers.open(shared("fixtures/tokenizers/chatglm3"), Family.GLM3);
    }

    @AfterAll
    static void close() {
        if (tokenizer != null) {
            tokenizer.close();
        }
    }

    private Dataset build(ChatTemplate template, String... lines) throws Exception {
        Path file = Files.writeString(temp.resolve("t.jsonl"), String.join("\n", lines));
        return DatasetBuilder.forText(new DataOptions(DataFormat.CHATGLM3, 400, 300, true, 65024), template)
                .build(List.of(file));
    }

    private Sample sample(String line) throws Exception {
        return build(new Glm3Template(tokenizer), line).sample(0);
    }

    private String error(ChatTemplate template, String... lines) {
        return assertThrows(DataException.class, () -> build(template, lines)).getMessage();
    }

    private static String learnedText(Sample sample) {
        return tokenizer.decode(Arrays.stream(sample.labels())
                .filter(label -> label != Sample.IGNORED)
                .toArray());
    }

    /** The reference's conversation with a call, before the last answer, as a record of training data. */
    private static JsonNode referenceChat() {
        for (JsonNode chat : json(shared("fixtures/tokenizers/chatglm3/chat_input.json"))) {
            if (chat.get("role").asText().equals("observation")) {
                return chat;
            }
        }
        throw new AssertionError("no chat of the reference has an observation");
    }

    @Test
    void aToolTurnIsLaidOutAsTheReferenceLaysOutTheChat() throws Exception {
        JsonNode chat = referenceChat();
        ObjectNode record = JSON.createObjectNode();
        record.set("tools", chat.get("history").get(0).get("tools"));
        ArrayNode turns = record.putArray("conversations");
        turns.addObject()
                .put("role", "system")
                .put("content", chat.get("history").get(0).get("content").asText());
        turns.addObject()
                .put("role", "user")
                .put("content", chat.get("history").get(1).get("content").asText());
        ObjectNode call = turns.addObject().put("role", "tool").put("name", "track");
        call.putObject("parameters").put("symbol", "10111");
        call.put("observation", chat.get("query").asText());
        turns.addObject().put("role", "assistant").put("content", "答案");

        int[] expected = ints(chat.get("input_ids"));
        Sample sample = sample(record.toString());
        assertArrayEquals(expected, Arrays.copyOf(sample.inputIds(), expected.length));
        assertEquals(
                "<|assistant|> track\n ```python\ntool_call(symbol='10111')\n```<|observation|><|assistant|> \n 答案",
                learnedText(sample));
        assertEquals(tokenizer.eosId(), sample.labels()[sample.length() - 1]);
        int observation = indexOf(OBSERVATION, sample.inputIds());
        assertEquals(OBSERVATION, sample.labels()[observation]);
        assertEquals(Sample.IGNORED, sample.labels()[observation + 1]);
    }

    @Test
    void callAndResultMayAlsoBeTwoTurns() throws Exception {
        String head = "{\"tools\":[{\"name\":\"w\"}],\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},";
        String tail = "{\"role\":\"assistant\",\"content\":\"a\"}]}";
        Sample one = sample(head
                + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":{\"n\":2,\"c\":\"京\"},\"observation\":{\"t\":[3]}},"
                + tail);
        Sample two = sample(head
                + "{\"role\":\"assistant\",\"metadata\":\"w\",\"content\":\"```python\\ntool_call(n=2, c='京')\\n```\"},"
                + "{\"role\":\"observation\",\"content\":\"{\\\"t\\\": [3]}\"}," + tail);
        assertArrayEquals(one.inputIds(), two.inputIds());
        assertArrayEquals(one.labels(), two.labels());
    }

    @Test
    void toolsFollowTheSystemTextOrTheSentenceOfTheReference() throws Exception {
        String turns = "{\"role\":\"user\",\"content\":\"q\"},{\"role\":\"assistant\",\"content\":\"a\"}]}";
        String start = "{\"tools\":[{\"name\":\"w\"}],\"conversations\":[";
        String tools = "\n[\n    {\n        \"name\": \"w\"\n    }\n]";
        Glm3Template template = new Glm3Template(tokenizer);
        for (String system : new String[] {"", "请回答。"}) {
            String turn = system.isEmpty() ? "" : "{\"role\":\"system\",\"content\":\"" + system + "\"},";
            String expected = (system.isEmpty()
                            ? "Answer the following questions as best as you can. You have access to the following tools:"
                            : system)
                    + tools;
            int[] message = template.message(Message.of(Role.SYSTEM, expected));
            int[] ids = sample(start + turn + turns).inputIds();
            assertArrayEquals(message, Arrays.copyOfRange(ids, 2, 2 + message.length));
        }
    }

    @Test
    void aReasonMayPrecedeTheCallAndLossMayBeSwitchedOffPerTurn() throws Exception {
        String record = "{\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},"
                + "{\"role\":\"assistant\",\"content\":\"reason\"%s},"
                + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":{},\"observation\":\"r\"%s},"
                + "{\"role\":\"assistant\",\"content\":\"a\"%s}]}";
        String no = ",\"loss\":false";
        Sample all = sample(record.formatted("", "", ""));
        String reason = "<|assistant|> \n reason";
        String call = "<|assistant|> w\n ```python\ntool_call()\n```";
        assertEquals(reason + call + "<|observation|><|assistant|> \n a", learnedText(all));
        // What ends a learned message is learned too: here the <|assistant|> of the call.
        Sample noCall = sample(record.formatted("", no, ""));
        assertArrayEquals(all.inputIds(), noCall.inputIds());
        assertEquals(reason + "<|assistant|><|assistant|> \n a", learnedText(noCall));
        assertEquals(call + "<|observation|><|assistant|> \n a", learnedText(sample(record.formatted(no, "", ""))));
        assertEquals(reason + call + "<|observation|>", learnedText(sample(record.formatted("", "", no))));
        assertEquals(
                3,
                Arrays.stream(noCall.inputIds()).filter(id -> id == ASSISTANT).count());
    }

    @Test
    void aResultWithoutAnswerIsLeftOut() throws Exception {
        Sample sample = sample("{\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},"
                + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":{},\"observation\":\"r\"}]}");
        assertEquals(-1, indexOf(OBSERVATION, sample.inputIds()));
        assertTrue(learnedText(sample).endsWith("tool_call()\n```"), learnedText(sample));
    }

    @Test
    void malformedToolCallsAreRefused() {
        String user = "{\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},";
        String answer = ",{\"role\":\"assistant\",\"content\":\"a\"}]}";
        String message = error(
                new Glm3Template(tokenizer),
                user + "{\"role\":\"tool\",\"parameters\":{},\"observation\":1}" + answer,
                user + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":[],\"observation\":1}" + answer,
                user + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":{}}" + answer,
                user + "{\"role\":\"observation\",\"content\":\"r\"}" + answer,
                user + "{\"role\":\"assistant\",\"metadata\":\"w\",\"content\":\"c\"}" + answer,
                "{\"tools\":\"w\",\"conversations\":[{\"role\":\"user\",\"content\":\"q\"}" + answer,
                user + "{\"role\":\"robot\",\"content\":\"r\"}" + answer,
                "{\"conversations\":[{\"role\":\"user\",\"metadata\":\"w\",\"content\":\"q\"}" + answer,
                user + "{\"role\":\"assistant\",\"content\":\"b\"}" + answer);
        assertTrue(message.contains(":1: `conversations[1].name` is missing"), message);
        assertTrue(message.contains(":2: `conversations[1].parameters` must be an object, not an array"), message);
        assertTrue(message.contains(":3: `conversations[1].observation` is missing"), message);
        assertTrue(message.contains(":4: message 2 of the conversation is from the observation where the assistant"));
        assertTrue(message.contains(":5: message 3 of the conversation is from the assistant where the observation"));
        assertTrue(message.contains(":6: `tools` must be an array of the tools' descriptions, not a string"), message);
        assertTrue(message.contains(":7: `conversations[1].role` is `robot`"), message);
        assertTrue(message.contains(":8: `conversations[0].metadata` is the name of the tool"), message);
        assertTrue(message.contains(":9: message 3 of the conversation is from the assistant where the user"), message);
    }

    /** A record in which a tool is called between a question and an answer. */
    private static String calling(String tools, String turn) {
        return "{" + (tools.isEmpty() ? "" : "\"tools\":" + tools + ",")
                + "\"conversations\":[{\"role\":\"user\",\"content\":\"q\"}," + turn
                + ",{\"role\":\"assistant\",\"content\":\"a\"}]}";
    }

    private static String call(String name, String parameters) {
        return "{\"role\":\"tool\",\"name\":\"" + name + "\",\"parameters\":" + parameters + ",\"observation\":1}";
    }

    private static String callInTwo(String name) {
        return callInTwo(name, "c");
    }

    private static String callInTwo(String name, String content) {
        return "{\"role\":\"assistant\",\"metadata\":\"" + name + "\",\"content\":"
                + PythonText.json(TextNode.valueOf(content)) + "}," + "{\"role\":\"observation\",\"content\":\"r\"}";
    }

    @Test
    void callsThatNothingCouldAnswerAreRefused() {
        String needs = "[{\"name\":\"w\",\"parameters\":{\"properties\":{\"city\":{}},\"required\":[\"city\"]}}]";
        String openAi = "[{\"type\":\"function\",\"function\":{\"name\":\"计算器\"}},{\"name\":\"w\"}]";
        String message = error(
                new Glm3Template(tokenizer),
                calling("", call("get weather", "{}")),
                calling("", callInTwo("查询。")),
                calling("", call("w", "{\"the city\":1}")),
                calling("", call("w", "{\"2nd\":1}")),
                calling("", call("w", "{\"\":1}")),
                calling(openAi, call("v", "{}")),
                calling(openAi, callInTwo("v")),
                calling(needs, call("w", "{\"town\":\"京\"}")),
                calling("", call("w\\n", "{}")));
        assertTrue(message.startsWith("9 lines can't be used"), message);
        assertTrue(
                message.contains(":1: `conversations[1].name` is \"get weather\", which cannot be the name of a tool"),
                message);
        assertTrue(message.contains(":2: `conversations[1].metadata` is \"查询。\", which cannot be"), message);
        assertTrue(
                message.contains(":3: `conversations[1].parameters`: \"the city\" cannot be the name of a parameter"),
                message);
        assertTrue(message.contains(":4: `conversations[1].parameters`: \"2nd\" cannot be"), message);
        assertTrue(message.contains(":5: `conversations[1].parameters`: \"\" cannot be"), message);
        assertTrue(
                message.contains(":6: `conversations[1].name` is `v`, which is not among the record's `tools`: 计算器, w"),
                message);
        assertTrue(message.contains(":7: `conversations[1].metadata` is `v`, which is not among"), message);
        assertTrue(
                message.contains(":8: `conversations[1].parameters` lacks `city`, which `tools` says that w needs"),
                message);
        assertTrue(message.contains(":9: `conversations[1].name` is \"w\\n\", which cannot be"), message);
        assertEquals(10, message.lines().count(), message);
    }

    @Test
    void callsThatCannotBeReadBackAreRefused() {
        String message = error(
                new Glm3Template(tokenizer),
                calling("", callInTwo("w", "```python\ntool_call(city=\n```")),
                calling("", callInTwo("w", "```python\ntool_call(city='京)\n```")),
                calling("", callInTwo("w", "```python\ntool_call(city='京')")),
                calling("", callInTwo("w", "```python\ntool_call(days=[1, 2)\n```")),
                calling("", callInTwo("w", "说明\n```python\ntool_call(n=1))\n```")),
                calling("", callInTwo("w", "```python\ntool_call(s='a\nb')\n```")));
        String is = "`conversations[1].content` is no call of w: ";
        assertTrue(message.contains(":1: " + is + "tool_call(...) has no closing bracket; it reads"), message);
        assertTrue(message.contains(":2: " + is + "a string in tool_call(...) has no end"), message);
        assertTrue(message.contains(":3: " + is + "its block of code is not closed by ```"), message);
        assertTrue(message.contains(":4: " + is + "')' closes a bracket that is not open"), message);
        assertTrue(message.contains(":5: " + is + "')' closes a bracket that is not open"), message);
        assertTrue(message.contains(":6: " + is + "a string in tool_call(...) has no end"), message);
        assertEquals(7, message.lines().count(), message);
    }

    @Test
    void whatTheReferenceAcceptsIsAccepted() throws Exception {
        String needs = "[{\"name\":\"w\",\"parameters\":{\"required\":[\"city\"]}}]";
        for (String record : List.of(
                calling(needs, call("w", "{\"city\":\"京\",\"more\":1}")),
                calling("{\"name\":\"w\"}", call("w", "{}")),
                // Descriptions of other kinds: nothing is known of the names.
                calling("[\"w: the weather of a city\"]", call("v", "{}")),
                calling("{\"w\":{\"description\":\"weather\"}}", call("v", "{}")),
                calling("[{\"name\":\"w\"},{\"tool\":\"v\"}]", call("u", "{}")),
                calling("[{\"name\":\"w\",\"parameters\":\"none\"}]", call("w", "{}")),
                calling("[]", call("v", "{}")),
                calling("null", call("v", "{\"城市\":1,\"_n2\":2,\"from\":3}")),
                calling("[{\"name\":\"w\"}]", callInTwo("interpreter")),
                calling("", callInTwo("interpreter", "```python\nprint('tool_call(')\n```")),
                calling("", callInTwo("w", "```python\ntool_call(s='it\\'s )', d={'a': [1]})\n```")),
                calling("", callInTwo("w", "{\"city\": \"京\"}")),
                calling("", callInTwo("w", "我用 tool_call( 查：\n```python\ntool_call(a=1)\n```\n完成。")),
                calling("", callInTwo("w", "```python\ntool_call(a=1)```")),
                calling("", callInTwo("w", "```python\ntool_call(\n  a=1,  # it's :)\n)  # 北京\n```")),
                calling("", callInTwo("w", "```python\ntool_call(code='''print(\"it's\n)\")''')\n```")),
                calling("", callInTwo("w", "```python\nmy_tool_call(\n```")),
                calling(
                        "",
                        callInTwo("w", "```python\ntool_call(\n```")
                                .replaceFirst("\"metadata\"", "\"loss\":false,\"metadata\"")),
                calling("", call("math.sum", "{}")),
                calling("", call("天气-2", "{}")))) {
            assertTrue(learnedText(sample(record)).endsWith("<|assistant|> \n a"), record);
        }
    }

    @Test
    void aDecodedCallIsTheMessageThatWasLearned() {
        Glm3Template template = new Glm3Template(tokenizer);
        for (String tool : List.of("get_weather", "天气-2", "math.sum")) {
            Message call = Message.toolCall(
                    tool, JSON.createObjectNode().put("city", "北京").put("days", 3), true);
            int[] tokens = template.message(call);
            String text = tokenizer.decode(Arrays.copyOfRange(tokens, template.answerHeader(), tokens.length));
            assertEquals(call, template.answer(text));
            assertArrayEquals(tokens, template.message(template.answer(text)));
        }
    }

    @Test
    void whatIsNoNameInTheFirstLineIsText() {
        Glm3Template template = new Glm3Template(tokenizer);
        for (String text : List.of(
                "好的，步骤如下：\n1. 打开",
                "Of course:\n- one\n- two",
                "Here you are\nfirst",
                "**Title**\ntext",
                "-\ntext",
                "a".repeat(65) + "\ntext",
                "\n get_weather",
                "get_weather",
                "get_weather\n",
                "")) {
            assertEquals(Message.of(Role.ASSISTANT, text.strip()), template.answer(text), text);
        }
    }

    @Test
    void otherTemplatesRefuseTools() {
        String record = "{\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},"
                + "{\"role\":\"tool\",\"name\":\"w\",\"parameters\":{},\"observation\":\"r\"},"
                + "{\"role\":\"assistant\",\"content\":\"a\"}]}";
        String offered = "{\"tools\":[1],\"conversations\":[{\"role\":\"user\",\"content\":\"q\"},"
                + "{\"role\":\"assistant\",\"content\":\"a\"}]}";
        for (String line : List.of(record, offered)) {
            String message = error(new CharacterTemplate(), line);
            assertTrue(message.contains(":1: the conversation has tools, which only ChatGLM3's template"), message);
        }
    }

    private static int indexOf(int id, int[] ids) {
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] == id) {
                return i;
            }
        }
        return -1;
    }
}
