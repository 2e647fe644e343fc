package org.shardloom.kernels.cuda;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.TreeMap;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.AdapterOps.Columns;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/**
 * Operations of a device on tensors of the host: each call copies what its operands lie in to the device, operands that overlap to one
 * block, and all of it back when the operation is done. Bytes around each block must stay as they were, as guard pages see to on the host;
 * what an operation reads there goes unnoticed. Tensors at address 0 have no memory and stay as they are.
 */
final class CopiedOps implements InvocationHandler {
    /** On each side of a block; addresses keep their remainder, which kernels choose a path by. */
    private static final int MARGIN = 512;

    private static final byte UNTOUCHED = -1;
    private final CudaDevice device;

    CopiedOps(CudaDevice device) {
        this.device = device;
    }

    /** A run of the host's memory and its copy. */
    private record Block(long host, long bytes, Tensor room, long copy) {}

    @Override
    public Object invoke(Object proxy, Method method, Object[] arguments) throws Throwable {
        TreeMap<Long, Long> ranges = new TreeMap<>();
        for (Object argument : arguments) {
            Tensor tensor = tensor(argument);
            if (tensor != null && tensor.address() != 0) {
                ranges.merge(tensor.address(), tensor.address() + tensor.bytes(), Math::max);
            }
        }
        TreeMap<Long, Block> blocks = new TreeMap<>();
        try (Memory memory = device.memory(Purpose.WORKSPACE)) {
            long from = 0, to = -1;
            for (Map.Entry<Long, Long> range : ranges.entrySet()) {
                if (to >= 0 && range.getKey() < to) {
                    to = Math.max(to, range.getValue());
                    continue;
                }
                if (to >= 0) {
                    blocks.put(from, up(memory, from, to - from));
                }
                from = range.getKey();
                to = range.getValue();
            }
            if (to >= 0) {
                blocks.put(from, up(memory, from, to - from));
            }
            Object[] moved = new Object[arguments.length];
            for (int i = 0; i < moved.length; i++) {
                moved[i] = moved(blocks, arguments[i]);
            }
            Object result = method.invoke(device.ops(), moved);
            device.synchronize();
            blocks.values().forEach(this::down);
            return result;
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    private static Tensor tensor(Object argument) {
        if (argument instanceof IndexTensor indices) {
            return indices.storage();
        }
        return argument instanceof Columns columns ? columns.matrix() : argument instanceof Tensor t ? t : null;
    }

    private static Object moved(TreeMap<Long, Block> blocks, Object argument) {
        if (argument instanceof IndexTensor indices) {
            return new IndexTensor((Tensor) moved(blocks, indices.storage()), indices.count());
        }
        if (argument instanceof Columns c) {
            return new Columns((Tensor) moved(blocks, c.matrix()), c.from(), c.count());
        }
        if (!(argument instanceof Tensor tensor) || tensor.address() == 0) {
            return argument;
        }
        Block block = blocks.floorEntry(tensor.address()).getValue();
        return new Tensor(block.copy + tensor.address() - block.host, tensor.dtype(), tensor.shape());
    }

    private Block up(Memory memory, long host, long bytes) {
        Tensor room = memory.allocate(DType.BF16, (bytes + 3 * MARGIN + 1) / 2);
        ByteBuffer marks = ByteBuffer.allocateDirect((int) room.bytes());
        while (marks.hasRemaining()) {
            marks.put(UNTOUCHED);
        }
        long copy = room.address() + MARGIN + Math.floorMod(host - room.address(), (long) MARGIN);
        marks.position((int) (copy - room.address()));
        if (bytes > 0) {
            marks.put(HostBytes.view(host, bytes));
        }
        device.write(room, marks.rewind());
        return new Block(host, bytes, room, copy);
    }

    private void down(Block block) {
        ByteBuffer found = ByteBuffer.allocateDirect((int) block.room.bytes());
        device.read(block.room, found);
        int first = (int) (block.copy - block.room.address());
        for (int i = 0; i < found.capacity(); i++) {
            if ((i < first || i >= first + block.bytes) && found.get(i) != UNTOUCHED) {
                throw new AssertionError("a byte " + (i - first) + " from the beginning of an operand of " + block.bytes
                        + " bytes was written");
            }
        }
        if (block.bytes > 0) {
            HostBytes.view(block.host, block.bytes).put(found.slice(first, (int) block.bytes));
        }
    }
}
