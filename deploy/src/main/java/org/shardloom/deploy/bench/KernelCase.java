package org.shardloom.deploy.bench;

import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.shardloom.kernels.cuda.KernelCosts;
import org.shardloom.kernels.cuda.KernelCosts.Size;
import org.shardloom.kernels.device.Memory;

/** One operation, and what each of its kernels has to do. */
final class KernelCase {
    private final String name;
    private final Map<KernelCosts, Size> sizes;
    private final Function<Memory, Runnable> preparation;

    /**
     * @param sizes of one launch of each kernel that the operation launches
     * @param preparation allocates operands in the memory and returns the operation over them
     */
    KernelCase(String name, Map<KernelCosts, Size> sizes, Function<Memory, Runnable> preparation) {
        this.name = name;
        this.sizes = new EnumMap<>(sizes);
        this.preparation = preparation;
    }

    String name() {
        return name;
    }

    /** The operation, over operands in the memory. */
    Runnable prepare(Memory memory) {
        return preparation.apply(memory);
    }

    /** What one launch of each of its kernels takes at least. */
    Map<KernelCosts, KernelCosts.Cost> costs() {
        Map<KernelCosts, KernelCosts.Cost> costs = new EnumMap<>(KernelCosts.class);
        sizes.forEach((family, size) -> costs.put(family, family.of(size)));
        return costs;
    }

    /** What one launch of the kernel takes at least; nothing where that is not stated. */
    Optional<KernelCosts.Cost> cost(String kernel) {
        return KernelCosts.named(kernel).flatMap(family -> sizes.entrySet().stream()
                .filter(entry -> entry.getKey().prefix().equals(family.prefix()))
                .map(entry -> entry.getKey().of(entry.getValue()))
                .findFirst());
    }
}
