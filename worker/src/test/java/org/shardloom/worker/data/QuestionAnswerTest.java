package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.shardloom.worker.tokenizer.Family;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tokenizer.Tokenizers;
import org.shardloom.worker.weights.SharedFixtures;

/** A sample taken apart into what a model is given and what it should answer. */
class QuestionAnswerTest {
    @ParameterizedTest
    @EnumSource(
            value = Family.class,
            names = {"GLM1", "GLM2", "GLM3"})
    void thePromptEndsWhereTheModelsOwnWordsBegin(Family family) {
        String directory = "fixtures/tokenizers/chatglm" + family.name().charAt(3);
        try (Tokenizer tokenizer = Tokenizers.open(SharedFixtures.shared(directory), family)) {
            ChatTemplate template = ChatTemplate.of(tokenizer);
            List<Message> conversation = List.of(Message.of(Role.USER, "你好"), Message.of(Role.ASSISTANT, "hello"));
            Sample sample = template.samples(conversation, 64, 32).get(0);
            QuestionAnswer question = QuestionAnswer.of(sample, template.answerHeader());
            int[] chat = template.prompt(conversation.subList(0, 1));
            assertEquals(chat[chat.length - 1], question.prompt()[question.prompt().length - 1]);
            int[] whole = Arrays.copyOf(question.prompt(), sample.length());
            System.arraycopy(question.answer(), 0, whole, question.prompt().length, question.answer().length);
            assertArrayEquals(sample.inputIds(), whole);
            assertEquals("hello", tokenizer.decode(question.answer()).strip());
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Family.class,
            names = {"PLAIN"})
    void nothingLearnedIsNoQuestion(Family family) {
        assertNull(QuestionAnswer.of(new Sample(new int[] {1, 2}, new int[] {-100, -100}, false), 0));
        assertNull(QuestionAnswer.of(new Sample(new int[] {1, 2}, new int[] {1, 2}, false), 0));
    }
}
