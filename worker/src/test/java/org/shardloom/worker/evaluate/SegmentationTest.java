package org.shardloom.worker.evaluate;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.shardloom.worker.evaluate.Segmentation.CHINESE;
import static org.shardloom.worker.evaluate.Segmentation.SPACED;

import java.util.List;
import org.junit.jupiter.api.Test;

class SegmentationTest {

    @Test
    void chineseIsDividedIntoWords() {
        assertEquals(List.of("我", "是", "中国", "人", "，", "今天", "天气", "很", "好", "。"), CHINESE.rougeUnits("我是中国人，今天天气很好。"));
        assertEquals(List.of("发动机", "_", "部件", "故障", "_", "水温", "高"), CHINESE.rougeUnits("发动机_部件故障_水温高"));
    }

    @Test
    void otherTextWithinChineseStaysWhole() {
        assertEquals(List.of("使用", "shardloom", "训练", "3", "个", "模型", "!"), CHINESE.rougeUnits("使用 Shardloom 训练3个模型!"));
    }

    @Test
    void textOfAnyLengthIsDividedCompletely() {
        String text = "发动机水温高，风扇始终是低速转动。".repeat(200);
        assertEquals(text, String.join("", CHINESE.rougeUnits(text)));
        String withoutEnd = "水温".repeat(3000);
        assertEquals(withoutEnd, String.join("", CHINESE.rougeUnits(withoutEnd)));
    }

    @Test
    void bleuCountsCharactersOfChinese() {
        assertEquals(List.of("水", "温", " ", "𠮷", "a"), CHINESE.bleuUnits(" 水温 𠮷a\n"));
    }

    @Test
    void spacedTextIsDividedAtWhatIsNeitherLetterNorDigit() {
        List<String> expected = List.of("it", "s", "2", "5", "c", "état", "привет", "हिन्दी");
        assertEquals(expected, SPACED.rougeUnits("  It's 2.5°C -- État_ПРИВЕТ हिन्दी!"));
        assertEquals(expected, SPACED.bleuUnits("  It's 2.5°C -- État_ПРИВЕТ हिन्दी!"));
    }

    @Test
    void nothingHasNoUnits() {
        for (Segmentation language : Segmentation.values()) {
            for (String text : List.of("", " \n\t", "\u3000")) {
                assertEquals(List.of(), language.rougeUnits(text));
                assertEquals(List.of(), language.bleuUnits(text));
            }
        }
        assertEquals(List.of(), SPACED.rougeUnits("... !"));
    }

    @Test
    void oneChineseCharacterMakesThePairChinese() {
        assertEquals(SPACED, Segmentation.of("an answer", "été 12"));
        assertEquals(CHINESE, Segmentation.of("an answer", "a 水 b"));
        assertEquals(CHINESE, Segmentation.of("水温高", ""));
    }
}
