package org.shardloom.worker.data;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;

/** The expected texts are what Python 3.11 prints. */
class PythonTextTest {
    private static JsonNode json(String text) throws Exception {
        return new ObjectMapper().readTree(text);
    }

    private static void assertRepr(String expected, String json) throws Exception {
        assertEquals(expected, PythonText.repr(json(json)), json);
    }

    @Test
    void numbersAreTheShortestThatAreReadBackAlike() throws Exception {
        assertRepr("5", "5");
        assertRepr("-7", "-7");
        assertRepr("100000000000000000000", "100000000000000000000");
        assertRepr("1.5", "1.5");
        assertRepr("-0.0", "-0.0");
        assertRepr("0.0", "0.0");
        assertRepr("100.0", "1e2");
        assertRepr("0.1", "0.1");
        assertRepr("0.30000000000000004", "0.30000000000000004");
        assertRepr("1000000000000000.0", "1e15");
        assertRepr("1e+16", "1e16");
        assertRepr("-1e+22", "-1e22");
        assertRepr("1.2345678901234568e+17", "123456789012345680.0");
        assertRepr("0.0001", "1e-4");
        assertRepr("1e-05", "1e-5");
        assertRepr("5e-324", "5e-324");
        assertRepr("2e-323", "2e-323");
        assertRepr("1.7976931348623157e+308", "1.7976931348623157e308");
        assertEquals("[1e+16, 2.0]", PythonText.json(json("[1e16, 2.0]")));
    }

    @Test
    void reprQuotesAndEscapesAsPythonDoes() throws Exception {
        assertRepr("'10111'", "\"10111\"");
        assertRepr("\"it's\"", "\"it's\"");
        assertRepr("'a\"b'", "\"a\\\"b\"");
        assertRepr("'it\\'s \"x\"'", "\"it's \\\"x\\\"\"");
        assertRepr("'line\\nx\\t\\\\'", "\"line\\nx\\t\\\\\"");
        assertRepr("'北京😀'", "\"北京😀\"");
        assertRepr("'\\x00\\x7f\\u200b\\u3000\\xa0\\x0c'", "\"\\u0000\\u007f\\u200b\\u3000\\u00a0\\f\"");
        assertRepr("'\\ud800'", "\"\\ud800\"");
        assertRepr("[1, 'a', None, True, [], {}]", "[1,\"a\",null,true,[],{}]");
        assertRepr("{'a': {'b': [False]}, 'c': 1}", "{\"a\":{\"b\":[false]},\"c\":1}");
    }

    @Test
    void jsonSeparatesAndEscapesAsPythonDoes() throws Exception {
        String value =
                "{\"a\":[1,\"it's \\\"x\\\"\\n\\b\\f\\r\\t\\\\\\u0001\\u007f北京\"],\"b\":{},\"c\":[],\"d\":{\"e\":null}}";
        assertEquals(
                "{\"a\": [1, \"it's \\\"x\\\"\\n\\b\\f\\r\\t\\\\\\u0001\u007f北京\"], \"b\": {}, \"c\": [], \"d\": {\"e\": null}}",
                PythonText.json(json(value)));
        assertEquals(
                "{\n    \"a\": [\n        true,\n        {}\n    ],\n    \"b\": 1\n}",
                PythonText.indentedJson(json("{\"a\":[true,{}],\"b\":1}")));
    }
}
