package org.shardloom.kernels.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

class MemoryTest {
    private final List<String> log = new ArrayList<>();
    private final Memory.Allocator allocator = new Memory.Allocator() {
        private long next = 1000;

        @Override
        public long allocate(long bytes, Purpose purpose) {
            if (bytes > 1 << 20) {
                throw new OutOfMemoryException("no more");
            }
            log.add("+" + next + " " + bytes + " " + purpose);
            return next++;
        }

        @Override
        public void release(long address, long bytes, Purpose purpose) {
            log.add("-" + address + " " + bytes + " " + purpose);
        }
    };

    @Test
    void closingFreesTheLatestFirstWithTheSizeAndPurposeItWasAskedForWith() {
        try (Memory memory = new Memory(allocator, Purpose.ACTIVATIONS)) {
            memory.allocate(DType.F32, 2, 3);
            memory.allocate(DType.BF16, 7);
        }
        assertEquals(
                List.of("+1000 24 ACTIVATIONS", "+1001 14 ACTIVATIONS", "-1001 14 ACTIVATIONS", "-1000 24 ACTIVATIONS"),
                log);
    }

    @Test
    void whatWasFreedEarlyIsNotFreedAgain() {
        Memory memory = new Memory(allocator, Purpose.WORKSPACE);
        Tensor first = memory.allocate(DType.F16, 1), second = memory.allocate(DType.F16, 1);
        memory.free(first);
        assertThrows(IllegalArgumentException.class, () -> memory.free(first));
        memory.close();
        memory.close();
        assertThrows(IllegalArgumentException.class, () -> memory.free(second));
        assertEquals(List.of("-1000 2 WORKSPACE", "-1001 2 WORKSPACE"), log.subList(2, log.size()));
    }

    @Test
    void aViewOrATensorOfAnotherScopeCannotBeFreed() {
        try (Memory memory = new Memory(allocator, Purpose.WORKSPACE);
                Memory other = new Memory(allocator, Purpose.WORKSPACE)) {
            Tensor tensor = memory.allocate(DType.F32, 4, 2);
            assertThrows(IllegalArgumentException.class, () -> memory.free(tensor.slice(0, 4)));
            assertThrows(IllegalArgumentException.class, () -> other.free(tensor));
        }
    }

    @Test
    void aRefusedAllocationLeavesTheScopeAsItWas() {
        try (Memory memory = new Memory(allocator, Purpose.GRADIENTS)) {
            memory.allocate(DType.F32, 1);
            assertThrows(OutOfMemoryException.class, () -> memory.allocate(DType.F32, 1 << 20));
        }
        assertEquals(List.of("+1000 4 GRADIENTS", "-1000 4 GRADIENTS"), log);
    }
}
