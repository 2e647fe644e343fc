package org.shardloom.deploy.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.function.Function;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.loop.WorkerDevice;
import org.shardloom.worker.tokenizer.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code shardloom chat}. */
@Command(
        name = "chat",
        description = {
            "Talks with a model, in the format that it was trained in. A line is a message; /clear begins anew, /exit or the end"
                    + " of the input ends.",
            "When a ChatGLM3 calls a tool, the next line is the tool's result."
        },
        mixinStandardHelpOptions = true)
final class ChatCommand implements Callable<Integer> {
    private static final int POSITIONS = 8192;

    @Mixin
    private ModelFlags from;

    @Mixin
    private ComputeFlags compute;

    @Option(names = "--system", paramLabel = "TEXT", description = "Instructions for the whole conversation.")
    private String system;

    @Option(
            names = "--tools",
            paramLabel = "FILE",
            description = "A JSON array of the descriptions of tools that a ChatGLM3 may call.")
    private Path tools;

    @Option(
            names = "--max-new-tokens",
            defaultValue = "512",
            paramLabel = "N",
            description = "Most tokens of an answer; default: ${DEFAULT-VALUE}.")
    private int maxNewTokens;

    @Mixin
    private SamplingFlags sampling;

    @Mixin
    private StopFlags stops;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws Exception {
        SamplingOptions options = sampling.options();
        stops.check();
        if (maxNewTokens < 1) {
            throw new Failures.UsageException("--max-new-tokens is " + maxNewTokens + ", expected 1 or more");
        }
        JsonNode offered = tools == null ? null : readTools();
        PrintWriter out = spec.commandLine().getOut();
        try (ModelSource source = from.open();
                Tokenizer words = from.openTokenizer(source)) {
            ChatTemplate chat = ModelFlags.template(source, words);
            if (offered != null && !chat.hasTools()) {
                throw new Failures.UsageException("--tools is for ChatGLM3: this model's format has no tools");
            }
            Function<LoadedModel, Conversation> conversations = model -> new Conversation(
                    stops.generator(model, words, chat, options),
                    stops.texts(words),
                    words,
                    chat,
                    system,
                    offered,
                    maxNewTokens);
            try (WorkerDevice on = compute.open();
                    LoadedModel loaded = compute.load(
                            source,
                            on,
                            ModelFlags.positions(source, POSITIONS),
                            paper -> conversations.apply(paper).rehearse(),
                            "a smaller --max-new-tokens")) {
                Adaptation.announce(loaded, from.model());
                talk(conversations.apply(loaded), out);
            }
        }
        return 0;
    }

    private static void talk(Conversation conversation, PrintWriter out) throws IOException {
        boolean terminal = System.console() != null;
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        while (true) {
            if (terminal) {
                out.print(conversation.awaitsResult() ? "result> " : "you> ");
                out.flush();
            }
            String line = in.readLine();
            if (line == null || line.strip().equals("/exit")) {
                return;
            }
            if (line.strip().equals("/clear")) {
                conversation.clear();
                out.println("(forgotten)");
            } else if (!line.isBlank()) {
                conversation.say(line, out);
            }
        }
    }

    private JsonNode readTools() throws IOException {
        try {
            JsonNode read = new ObjectMapper().readTree(Files.readString(tools));
            if (!read.isArray() || read.isEmpty()) {
                throw new Failures.UsageException(tools + " is no JSON array of tools' descriptions");
            }
            return read;
        } catch (JsonProcessingException e) {
            throw new Failures.UsageException(tools + " is not JSON: " + e.getOriginalMessage());
        }
    }
}
