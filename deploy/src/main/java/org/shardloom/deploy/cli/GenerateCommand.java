package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.Message;
import org.shardloom.worker.data.Role;
import org.shardloom.worker.generate.Continuation;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.loop.WorkerDevice;
import org.shardloom.worker.tokenizer.Tokenizer;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code shardloom generate}. */
@Command(name = "generate", description = "Answers prompts with a model.", mixinStandardHelpOptions = true)
final class GenerateCommand implements Callable<Integer> {
    private static final int POSITIONS = 4096;

    @Mixin
    private ModelFlags from;

    @Mixin
    private ComputeFlags compute;

    @ArgGroup(multiplicity = "1")
    private Prompts prompts;

    @Option(
            names = "--max-new-tokens",
            defaultValue = "128",
            paramLabel = "N",
            description = "Most tokens to generate; default: ${DEFAULT-VALUE}.")
    private int maxNewTokens;

    @Mixin
    private SamplingFlags sampling;

    @Mixin
    private StopFlags stops;

    @Option(
            names = "--json",
            description =
                    "Write a JSON object a line: prompt, answer, prompt_tokens, answer_tokens (how many), tokens (the"
                            + " answer's ids), end (stop, length or positions).")
    private boolean json;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws Exception {
        SamplingOptions options = sampling.options();
        stops.check();
        if (maxNewTokens < 1) {
            throw new Failures.UsageException("--max-new-tokens is " + maxNewTokens + ", expected 1 or more");
        }
        List<String> texts = prompts.read();
        try (ModelSource source = from.open();
                Tokenizer words = from.openTokenizer(source)) {
            ChatTemplate chat = ModelFlags.template(source, words);
            int positions = ModelFlags.positions(source, POSITIONS);
            List<int[]> ids = encode(chat, texts, positions);
            try (WorkerDevice on = compute.open();
                    LoadedModel loaded = compute.load(
                            source,
                            on,
                            positions,
                            paper ->
                                    stops.generator(paper, words, chat, options).rehearse(ids, maxNewTokens),
                            "a smaller --max-new-tokens, or fewer and shorter prompts")) {
                Adaptation.announce(loaded, from.model());
                Generator generator = stops.generator(loaded, words, chat, options);
                Continuation[] answers = new Continuation[texts.size()];
                int[] written = {0};
                generator.generate(ids, maxNewTokens, (finished, answer) -> {
                    answers[finished] = answer;
                    while (written[0] < answers.length && answers[written[0]] != null) {
                        int i = written[0]++;
                        write(texts.get(i), ids.get(i), answers[i], words);
                    }
                });
            }
        }
        return 0;
    }

    private List<int[]> encode(ChatTemplate chat, List<String> texts, int positions) {
        List<int[]> encoded = new ArrayList<>();
        for (int i = 0; i < texts.size(); i++) {
            int[] ids = chat.prompt(List.of(Message.of(Role.USER, texts.get(i))));
            if (ids.length == 0 || ids.length > positions) {
                throw new Failures.UsageException(
                        prompts.where(i) + "the prompt has " + ids.length + " tokens, expected 1 to " + positions);
            }
            encoded.add(ids);
        }
        return encoded;
    }

    private void write(String prompt, int[] promptIds, Continuation continuation, Tokenizer words) {
        String answer =
                stops.texts(words).cut(words.decode(continuation.tokens())).strip();
        PrintWriter out = spec.commandLine().getOut();
        if (!json) {
            out.println(answer);
            return;
        }
        ObjectNode line = JsonNodeFactory.instance.objectNode();
        line.put("prompt", prompt);
        line.put("answer", answer);
        line.put("prompt_tokens", promptIds.length);
        line.put("answer_tokens", continuation.tokens().length);
        ArrayNode tokens = line.putArray("tokens");
        for (int token : continuation.tokens()) {
            tokens.add(token);
        }
        line.put("end", continuation.end().name().toLowerCase(Locale.ROOT));
        out.println(line);
    }
}
