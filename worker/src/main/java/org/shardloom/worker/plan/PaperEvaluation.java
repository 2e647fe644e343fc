package org.shardloom.worker.plan;

import java.util.Set;
import java.util.function.Consumer;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.protocol.config.DataConfig;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.worker.generate.Generator;
import org.shardloom.worker.generate.SamplingOptions;
import org.shardloom.worker.generate.ShardedModel;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.tuning.Tuning;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * An evaluation between steps on paper: the loss of a batch, and the answers to any questions of a rank that are no longer.
 *
 * @param longest tokens of the longest sample; 0: the job has none to evaluate
 */
record PaperEvaluation(JobConfig job, int longest) {
    /** Of the job, if it has evaluations, with samples as long as there may be. */
    static PaperEvaluation of(JobConfig job, DecoderConfig model) {
        return of(
                job,
                Math.min(job.data().maxLength(), Tuning.positions(job.method().tuning(), model)));
    }

    /** Of the job, if it has evaluations. */
    static PaperEvaluation of(JobConfig job, int longest) {
        boolean any = job.evaluation().everySteps() > 0 && job.data().eval().isPresent();
        return new PaperEvaluation(job, any ? longest : 0);
    }

    private boolean answers() {
        return longest > 0 && job.evaluation().answers() && job.data().format() != DataConfig.Format.PRETOKENIZED;
    }

    /** Tokens of the longest sequence that comes. Of a conversation all but the last answer is the question, so that it may be as long as the sample. */
    int positions(DecoderConfig model) {
        int most = answers() ? longest + job.evaluation().maxNewTokens() : longest;
        return Math.max(longest, Math.min(most, Tuning.positions(job.method().tuning(), model)));
    }

    /**
     * Has the engine do of it what takes most memory.
     *
     * @param phases is told of its beginning, and with null of its end
     */
    void run(ZeroEngine engine, Device device, Consumer<String> phases) {
        if (longest == 0) {
            return;
        }
        phases.accept("evaluation");
        DecoderConfig model = engine.model().config();
        engine.evaluate(Planner.batch(model, job.train().microBatchSize(), longest));
        if (answers()) {
            answer(engine, device);
        }
        phases.accept(null);
    }

    private void answer(ZeroEngine engine, Device device) {
        DecoderConfig model = engine.model().config();
        int own = (job.evaluation().prompts() + job.workers() - 1) / job.workers();
        try (Memory memory = device.memory(Purpose.ACTIVATIONS)) {
            ShardedModel sharded = new ShardedModel(engine, engine.generation().prefix(memory), positions(model));
            new Generator(sharded, model.vocabulary(), Set.of(), SamplingOptions.GREEDY)
                    .rehearse(
                            own,
                            longest,
                            length -> Planner.batch(model, 1, length).ids(),
                            job.evaluation().maxNewTokens());
        }
    }
}
