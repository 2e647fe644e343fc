package org.shardloom.worker.zero;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.shardloom.kernels.collective.Collectives;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.worker.model.TunedModel;
import org.shardloom.worker.model.UnitSpec;

/**
 * Finds the unit that a loss or gradient that is not finite came from; all that is computed behind it is not finite either. Used by the
 * engine's thread.
 */
final class NonFiniteOrigin {
    private final TunedModel model;
    private final EvaluationPass forward;
    private final Collectives group;
    private final DType dtype;

    NonFiniteOrigin(TunedModel model, EvaluationPass forward, Collectives group, DType dtype) {
        this.model = model;
        this.forward = forward;
        this.group = group;
        this.dtype = dtype;
    }

    /**
     * What the step failed with, the same on every rank. Every rank must call it with the same sums.
     *
     * @param squares by trained unit: sum of squares of its gradient over all ranks
     * @param loss of the step over all ranks
     */
    NonFiniteException describe(StepInput input, double[] squares, double loss) {
        String origin = Double.isFinite(loss)
                ? ", but the gradient of unit " + unitOfGradient(model.trained(), model.prefixBlock(), squares)
                        + " is not finite"
                : unitOfLoss(input);
        return new NonFiniteException("the loss is " + loss + origin + "; the update was not applied. " + advice());
    }

    /** What a step failed with of which a part was applied. The forward pass is not what it was, and is not repeated. */
    TornStepException torn(double[] squares, double loss) {
        String origin = Arrays.stream(squares).allMatch(Double::isFinite)
                ? ""
                : ", the gradient of unit " + unitOfGradient(model.trained(), model.prefixBlock(), squares)
                        + " is not finite";
        return new TornStepException("the loss is " + loss + origin
                + "; units before it are updated already (train.max_grad_norm: 0 and train.spike.action: ignore), so that no"
                + " state but that of a checkpoint is good: resume from the last, or start anew. " + advice()
                + "; with train.spike.action: pause a step is looked at before it is applied");
    }

    private String advice() {
        return (dtype == DType.F16 ? "Set precision: bf16 or fp32, whose range is wider, lower" : "Lower")
                + " train.learning_rate, or check the data and the starting weights";
    }

    /** The first unit that backward, which goes from the head down and ends with the prefix, gave a gradient that is not finite. */
    static String unitOfGradient(List<UnitSpec> trained, int prefixBlock, double[] squares) {
        return IntStream.range(0, trained.size())
                .filter(u -> !Double.isFinite(squares[u]))
                .mapToObj(trained::get)
                .sorted(TunedModel.inBackward(prefixBlock))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("all gradients are finite"))
                .name();
    }

    /** Repeats the forward pass of the step's micro-batches: all of them on every rank, for the sake of the collectives. */
    private String unitOfLoss(StepInput input) {
        double[] found = new double[model.blockCount() + 1];
        for (int round = 0; round < input.rounds(); round++) {
            boolean own = round < input.microBatches().size();
            int block = forward.firstNonFinite(
                    own ? input.microBatches().get(round) : null,
                    own ? input.dropoutKeys().get(round) : 0);
            if (block != EvaluationPass.ALL_FINITE) {
                found[block]++;
            }
        }
        found = group.sum(found);
        if (found[model.prefixBlock()] > 0) {
            return outputOf(model.prefixBlock());
        }
        for (int block = 0; block < model.blockCount(); block++) {
            if (found[block] > 0) {
                return outputOf(block);
            }
        }
        return ", but the output of every unit is finite when it is computed again";
    }

    private String outputOf(int block) {
        String units = IntStream.of(model.unitsOf(block))
                .mapToObj(u -> model.units().get(u).root())
                .distinct()
                .collect(Collectors.joining(" with "));
        return ": the output of unit " + units + " is not finite";
    }
}
