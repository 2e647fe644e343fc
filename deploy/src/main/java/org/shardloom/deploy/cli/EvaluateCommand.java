package org.shardloom.deploy.cli;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.function.Function;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.DataFormat;
import org.shardloom.worker.data.DataOptions;
import org.shardloom.worker.data.Dataset;
import org.shardloom.worker.data.DatasetBuilder;
import org.shardloom.worker.data.QuestionAnswer;
import org.shardloom.worker.data.Sample;
import org.shardloom.worker.evaluate.Metric;
import org.shardloom.worker.evaluate.Scorer;
import org.shardloom.worker.evaluate.Scores;
import org.shardloom.worker.generate.Continuation;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.LoadedModel;
import org.shardloom.worker.generate.ModelSource;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.loop.WorkerDevice;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.tokenizer.Tokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code shardloom evaluate}. */
@Command(
        name = "evaluate",
        description =
                "Measures a model on samples: loss and perplexity of their answers, and how its own answers score.",
        mixinStandardHelpOptions = true)
final class EvaluateCommand implements Callable<Integer> {
    /** Room for a question and something of an answer. */
    private static final int LEAST_LENGTH = 16;

    @Mixin
    private ModelFlags from;

    @Mixin
    private ComputeFlags compute;

    @Option(
            names = "--data",
            required = true,
            paramLabel = "FILE",
            description = "Samples, JSON lines; may be repeated.")
    private List<Path> data;

    @Option(
            names = "--format",
            defaultValue = "alpaca",
            paramLabel = "alpaca|sharegpt|chatglm3",
            description = "What a line holds; default: ${DEFAULT-VALUE}.")
    private String format;

    @Option(
            names = "--max-length",
            defaultValue = "1560",
            paramLabel = "N",
            description = "Longest sample, in tokens; longer ones are cut; default: ${DEFAULT-VALUE}.")
    private int maxLength;

    @Option(
            names = "--samples",
            defaultValue = "200",
            paramLabel = "N",
            description = "Use the first N samples at most; default: ${DEFAULT-VALUE}.")
    private int samples;

    @Option(
            names = "--max-new-tokens",
            defaultValue = "256",
            paramLabel = "N",
            description = "Most tokens of an answer; 0 measures the loss only; default: ${DEFAULT-VALUE}.")
    private int maxNewTokens;

    @Option(
            names = "--answers",
            paramLabel = "FILE",
            description = "Write every answer beside its reference, JSON lines.")
    private Path answersFile;

    @Option(names = "--json", description = "Write the result as one JSON object.")
    private boolean json;

    @Mixin
    private SamplingFlags sampling;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws Exception {
        SamplingOptions options = sampling.options();
        DataFormat lines = checked();
        try (ModelSource source = from.open();
                Tokenizer words = from.openTokenizer(source);
                BufferedWriter out = answersFile == null ? null : Files.newBufferedWriter(answersFile)) {
            ChatTemplate chat = ChatTemplate.of(words);
            int vocabulary = source.model().config().vocabulary();
            int prompt = DataConfig.defaultMaxSourceLength(maxLength);
            Dataset dataset = DatasetBuilder.forText(new DataOptions(lines, maxLength, prompt, true, vocabulary), chat)
                    .build(data);
            List<Sample> used = new ArrayList<>();
            for (int i = 0; i < Math.min(samples, dataset.size()); i++) {
                used.add(dataset.sample(i));
            }
            List<QuestionAnswer> questions = questions(used, chat);
            Function<LoadedModel, Generator> generators =
                    model -> new Generator(model, words.vocabularySize(), chat.stops(), options);
            try (WorkerDevice on = compute.open();
                    LoadedModel loaded = compute.load(
                            source,
                            on,
                            maxLength + maxNewTokens,
                            paper -> rehearse(paper, used, questions, generators),
                            "a smaller --max-length or --max-new-tokens")) {
                Adaptation.announce(loaded, from.model());
                double loss = loss(loaded, used);
                report(
                        dataset.size(),
                        loss,
                        used,
                        maxNewTokens == 0 ? null : scores(generators.apply(loaded), words, chat, questions, out));
            }
        }
        return 0;
    }

    private DataFormat checked() {
        if (samples < 1 || maxNewTokens < 0 || maxLength < LEAST_LENGTH) {
            throw new Failures.UsageException("--samples must be 1 or more, --max-new-tokens 0 or more, --max-length "
                    + LEAST_LENGTH + " or more");
        }
        if (maxNewTokens == 0 && answersFile != null) {
            throw new Failures.UsageException("--answers has nothing to write with --max-new-tokens 0");
        }
        return switch (format) {
            case "alpaca" -> DataFormat.ALPACA;
            case "sharegpt" -> DataFormat.SHAREGPT;
            case "chatglm3" -> DataFormat.CHATGLM3;
            default -> throw new Failures.UsageException(
                    "--format is one of alpaca, sharegpt, chatglm3; found '" + format + "'");
        };
    }

    /** Mean cross-entropy of the learned tokens. */
    private static double loss(LoadedModel model, List<Sample> samples) {
        double sum = 0;
        long targets = 0;
        for (Sample sample : samples) {
            PackedBatch batch = PackedBatch.of(List.of(sample.inputIds()), List.of(sample.labels()));
            sum += model.loss(batch);
            targets += batch.targets().length;
        }
        return sum / Math.max(1, targets);
    }

    /** Does on a model on paper what takes most memory: the longest sample's loss, the first answers. */
    private void rehearse(
            LoadedModel paper,
            List<Sample> samples,
            List<QuestionAnswer> questions,
            Function<LoadedModel, Generator> generators) {
        samples.stream()
                .max(Comparator.comparingInt(Sample::length))
                .ifPresent(longest -> loss(paper, List.of(longest)));
        if (maxNewTokens > 0 && !questions.isEmpty()) {
            generators
                    .apply(paper)
                    .rehearse(questions.stream().map(QuestionAnswer::prompt).toList(), maxNewTokens);
        }
    }

    private static List<QuestionAnswer> questions(List<Sample> samples, ChatTemplate chat) {
        return samples.stream()
                .map(sample -> QuestionAnswer.of(sample, chat.answerHeader()))
                .filter(Objects::nonNull)
                .toList();
    }

    private Scores scores(
            Generator generator, Tokenizer words, ChatTemplate chat, List<QuestionAnswer> questions, BufferedWriter out)
            throws IOException {
        Continuation[] answers = new Continuation[questions.size()];
        generator.generate(
                questions.stream().map(QuestionAnswer::prompt).toList(), maxNewTokens, (i, a) -> answers[i] = a);
        Scorer scorer = new Scorer();
        for (int i = 0; i < answers.length; i++) {
            String answer = words.decode(answers[i].tokens()).strip();
            String reference =
                    words.decode(withoutStop(questions.get(i).answer(), chat)).strip();
            Map<Metric, Double> scored = scorer.add(answer, reference);
            if (out != null) {
                ObjectNode line = JsonNodeFactory.instance.objectNode();
                line.put("prompt", words.decode(questions.get(i).prompt()));
                line.put("answer", answer);
                line.put("reference", reference);
                scored.forEach((metric, value) -> line.put(metric.label(), value));
                out.write(line.toString());
                out.newLine();
            }
        }
        return scorer.scores();
    }

    private static int[] withoutStop(int[] answer, ChatTemplate chat) {
        int length = answer.length;
        while (length > 0 && chat.stops().contains(answer[length - 1])) {
            length--;
        }
        return Arrays.copyOf(answer, length);
    }

    private void report(int available, double loss, List<Sample> used, Scores scores) {
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            ObjectNode result = JsonNodeFactory.instance.objectNode();
            result.put("samples", used.size());
            result.put("loss", loss);
            result.put("perplexity", Math.exp(loss));
            if (scores != null) {
                result.put("empty_answers", scores.emptyAnswers());
                result.put("empty_references", scores.emptyReferences());
                scores.values().forEach((metric, value) -> result.put(metric.label(), value));
            }
            out.println(result);
            return;
        }
        out.printf(
                Locale.ROOT,
                "%d of %d samples: loss %.4f, perplexity %.4g%n",
                used.size(),
                available,
                loss,
                Math.exp(loss));
        if (scores != null) {
            out.println(scores.describe());
        }
    }
}
