package org.shardloom.worker.loop;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.shardloom.kernels.collective.CollectiveException;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.EvaluationConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.message.EvaluationReport;
import org.shardloom.worker.data.ChatTemplate;
import org.shardloom.worker.data.Dataset;
import org.shardloom.worker.data.DatasetBuilder;
import org.shardloom.worker.data.QuestionAnswer;
import org.shardloom.worker.data.Sample;
import org.shardloom.worker.evaluate.Answers;
import org.shardloom.worker.evaluate.Metric;
import org.shardloom.worker.evaluate.Scorer;
import org.shardloom.worker.generate.Continuation;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.generate.ShardedModel;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.tokenizer.Tokenizer;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.zero.ZeroEngine;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Evaluations between steps: the loss of held-out samples, and the model's own answers to some of them, shared by all ranks. What goes wrong
 * in one, an exhausted heap included, is reported and does not end the run: a rank that fails in its own work stays in step with the
 * others. What fails in a collective leaves the ranks out of step, and is a loss like any other. Used by the engine's thread.
 */
final class Evaluation implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(Evaluation.class);

    private final EvaluationConfig config;
    private final int microBatch;
    /** Of a sequence, at most: an answer ends there. */
    private final int positions;

    private final List<Sample> samples = new ArrayList<>();
    private final List<PackedBatch> batches = new ArrayList<>();
    private final Map<Integer, QuestionAnswer> questions = new LinkedHashMap<>();
    private final Tokenizer tokenizer;
    private final ChatTemplate template;

    /**
     * Reads the evaluation file.
     *
     * @throws org.shardloom.worker.data.DataException when it cannot be used; it names file and line
     */
    Evaluation(JobConfig job, DecoderConfig model, Path cache) {
        this.config = job.evaluation();
        this.microBatch = job.train().microBatchSize();
        this.positions = Tuning.positions(job.method().tuning(), model);
        DataConfig data = job.data();
        boolean text = data.format() != DataConfig.Format.PRETOKENIZED;
        this.tokenizer = text ? TrainingData.openTokenizer(job) : null;
        try {
            this.template = text ? ChatTemplate.of(tokenizer) : null;
            DatasetBuilder builder = text
                    ? DatasetBuilder.forText(TrainingData.options(job, model), template)
                    : DatasetBuilder.forTokens(TrainingData.options(job, model));
            Dataset dataset = builder.withCache(cache).build(List.of(data.eval().orElseThrow()));
            TrainingData.requireSources(dataset, model, List.of(data.eval().orElseThrow()));
            for (int i = 0; i < Math.min(config.samples(), dataset.size()); i++) {
                samples.add(dataset.sample(i));
            }
            TrainingData.requireContext(longestSample(), job, model);
            for (int from = 0; from < samples.size(); from += microBatch) {
                List<Sample> part = samples.subList(from, Math.min(samples.size(), from + microBatch));
                batches.add(PackedBatch.of(
                        part.stream().map(Sample::inputIds).toList(),
                        part.stream().map(Sample::labels).toList()));
            }
        } catch (RuntimeException e) {
            close();
            throw e;
        }
        for (int i = 0; text && config.answers() && i < Math.min(config.prompts(), samples.size()); i++) {
            QuestionAnswer question = QuestionAnswer.of(samples.get(i), template.answerHeader());
            if (question != null) {
                questions.put(i, question);
            }
        }
    }

    /** Whether the model is evaluated after the step. */
    boolean isDue(long step, long totalSteps) {
        return step % config.everySteps() == 0 || step == totalSteps;
    }

    /** Tokens of the longest sample. */
    int longestSample() {
        return samples.stream().mapToInt(Sample::length).max().orElse(1);
    }

    /** Longest sequence that an evaluation needs. */
    int longest() {
        int most = longestSample();
        for (QuestionAnswer question : questions.values()) {
            most = Math.max(most, Math.min(positions, question.prompt().length + config.maxNewTokens()));
        }
        return most;
    }

    /** Evaluates; every rank must call it. */
    EvaluationReport run(ZeroEngine engine, Device device, int rank, int worldSize) {
        long started = System.nanoTime();
        List<String> failures = new ArrayList<>();
        double loss = loss(engine, rank, worldSize, failures);
        List<EvaluationReport.Answer> answers =
                questions.isEmpty() ? List.of() : answers(engine, device, rank, worldSize, failures);
        double seconds = (System.nanoTime() - started) * 1e-9;
        String failure = failures.isEmpty() ? null : String.join("; ", failures);
        return new EvaluationReport(loss, samples.size(), answers, seconds, failure);
    }

    /** Batches are dealt in turn; a rank with fewer takes part with nothing. */
    private double loss(ZeroEngine engine, int rank, int worldSize, List<String> failures) {
        double sum = 0;
        long targets = 0;
        int failed = 0;
        for (int first = 0; first < batches.size(); first += worldSize) {
            int own = first + rank;
            if (own >= batches.size()) {
                engine.evaluate(null);
                continue;
            }
            PackedBatch batch = batches.get(own);
            try {
                sum += engine.evaluate(batch);
                targets += batch.targets().length;
            } catch (CollectiveException e) {
                throw e;
            } catch (RuntimeException | Error e) {
                LOG.warn("the loss could not be measured", e);
                failures.add("the loss of sample " + (own * microBatch + 1) + " and following could not be measured: "
                        + reason(e));
                failed++;
            }
        }
        double[] totals = engine.group().sum(new double[] {sum, targets, failed});
        return totals[2] > 0 ? Double.NaN : totals[0] / Math.max(1, totals[1]);
    }

    private List<EvaluationReport.Answer> answers(
            ZeroEngine engine, Device device, int rank, int worldSize, List<String> failures) {
        List<EvaluationReport.Answer> answers = new ArrayList<>();
        try (Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            Tensor prefix = null;
            boolean ready = true;
            try {
                prefix = engine.generation().prefix(memory);
            } catch (CollectiveException e) {
                throw e;
            } catch (RuntimeException | Error e) {
                LOG.warn("the prefix could not be made", e);
                failures.add("the prefix could not be made: " + reason(e));
                ready = false;
            }
            ShardedModel model = new ShardedModel(engine, prefix, longest());
            List<Integer> own = new ArrayList<>();
            int number = 0;
            for (int sample : questions.keySet()) {
                if (number++ % worldSize == rank) {
                    own.add(sample);
                }
            }
            try {
                answers.addAll(ready ? answer(model, own) : List.of());
            } catch (CollectiveException e) {
                throw e;
            } catch (RuntimeException | Error e) {
                LOG.warn("answers could not be generated or scored", e);
                failures.add("answers could not be generated or scored: " + reason(e));
            }
            model.serve();
        }
        return answers;
    }

    private List<EvaluationReport.Answer> answer(ShardedModel model, List<Integer> own) {
        List<int[]> prompts = own.stream().map(i -> questions.get(i).prompt()).toList();
        Generator generator =
                new Generator(model, tokenizer.vocabularySize(), template.stops(), SamplingOptions.GREEDY);
        List<Continuation> found = generator.generate(prompts, config.maxNewTokens());
        List<EvaluationReport.Answer> answers = new ArrayList<>();
        for (int i = 0; i < own.size(); i++) {
            QuestionAnswer question = questions.get(own.get(i));
            String answer = tokenizer.decode(found.get(i).tokens()).strip();
            String reference = tokenizer.decode(withoutStop(question.answer())).strip();
            answers.add(new EvaluationReport.Answer(
                    own.get(i), tokenizer.decode(question.prompt()), answer, reference, scores(answer, reference)));
        }
        return answers;
    }

    private Map<String, Double> scores(String answer, String reference) {
        Map<String, Double> wanted = new LinkedHashMap<>();
        new Scorer().add(answer, reference).forEach((metric, value) -> {
            if (config.metrics().contains(kind(metric))) {
                wanted.put(metric.label(), value);
            }
        });
        return wanted;
    }

    private static EvaluationConfig.Metric kind(Metric metric) {
        return switch (metric) {
            case ROUGE_1, ROUGE_2, ROUGE_L -> EvaluationConfig.Metric.ROUGE;
            case BLEU_4, CORPUS_BLEU_4 -> EvaluationConfig.Metric.BLEU;
            case EXACT_MATCH -> EvaluationConfig.Metric.EXACT_MATCH;
            case LINE_F1 -> EvaluationConfig.Metric.F1;
        };
    }

    /** The message of what the program foresees, or the name of what it does not, such as an exhausted heap. */
    private static String reason(Throwable e) {
        return e instanceof Error || e.getMessage() == null ? e.toString() : e.getMessage();
    }

    private int[] withoutStop(int[] answer) {
        int length = answer.length;
        while (length > 0 && template.stops().contains(answer[length - 1])) {
            length--;
        }
        return Arrays.copyOf(answer, length);
    }

    /** What it will do, for people. */
    String summary() {
        return String.format(
                Locale.ROOT,
                "evaluation every %d steps: loss of %d samples%s",
                config.everySteps(),
                samples.size(),
                questions.isEmpty() ? "" : ", answers to " + questions.size() + emptyReferences());
    }

    private String emptyReferences() {
        long empty = questions.values().stream()
                .filter(question -> Answers.isEmpty(tokenizer.decode(withoutStop(question.answer()))))
                .count();
        return empty == 0
                ? ""
                : ", " + empty + " of them with an empty reference, which scores 0 whatever the answer is";
    }

    @Override
    public void close() {
        if (tokenizer != null) {
            tokenizer.close();
        }
    }
}
