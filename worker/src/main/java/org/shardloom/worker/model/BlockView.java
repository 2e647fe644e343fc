package org.shardloom.worker.model;

import java.util.List;
import org.shardloom.kernels.tensor.Tensor;

/**
 * The parameters of a block, or their gradients: those of its units together.
 *
 * @param parts one view a unit; only trained units have gradients
 */
public record BlockView(List<UnitView> parts) {
    public BlockView {
        parts = List.copyOf(parts);
    }

    /** The only unit of a block. */
    public static BlockView of(UnitView part) {
        return new BlockView(List.of(part));
    }

    /** The parameter, or its gradient. */
    public Tensor get(String name) {
        Tensor found = find(name);
        if (found == null) {
            throw new IllegalArgumentException("no parameter " + name + " among the units "
                    + parts.stream().map(p -> p.spec().name()).toList());
        }
        return found;
    }

    /** The parameter, or its gradient; null where there is none, as of the gradient of a frozen parameter. */
    public Tensor find(String name) {
        for (UnitView part : parts) {
            if (part.spec().parameters().containsKey(name)) {
                return part.get(name);
            }
        }
        return null;
    }
}
