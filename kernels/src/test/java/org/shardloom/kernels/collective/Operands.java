package org.shardloom.kernels.collective;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.function.IntToDoubleFunction;
import org.shardloom.kernels.cpu.HostBlocks;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.Device;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Pending;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;

/** Tensors of one rank for the tests of collectives, where the transport has them: on the host or on a device. */
public abstract class Operands implements AutoCloseable {

    /** Uninitialised. */
    public abstract Tensor allocate(DType dtype, long... shape);

    /** Waits for the operation as who wants to read its result does. */
    public abstract void await(Pending pending);

    abstract void write(Tensor tensor, ByteBuffer bytes);

    abstract ByteBuffer read(Tensor tensor);

    @Override
    public abstract void close();

    /** Fills the tensor with elements [from, from + its length) of what the rank has. */
    public final Tensor fill(Tensor tensor, int rank, long from) {
        ByteBuffer bytes = bytes(tensor);
        Pattern.fill(bytes, tensor.dtype(), tensor.elements(), rank, from);
        write(tensor, bytes);
        return tensor;
    }

    /** Fails unless every element is exactly what is expected. */
    public final void check(String what, Tensor tensor, IntToDoubleFunction expected) {
        Pattern.check(what, tensor, read(tensor), expected);
    }

    private static ByteBuffer bytes(Tensor tensor) {
        return ByteBuffer.allocateDirect((int) tensor.bytes()).order(ByteOrder.nativeOrder());
    }

    /** In the host's memory. */
    public static Operands onHost() {
        HostBlocks blocks = new HostBlocks();
        return new Operands() {
            @Override
            public Tensor allocate(DType dtype, long... shape) {
                return blocks.allocate(dtype, shape);
            }

            @Override
            public void await(Pending pending) {
                pending.await();
            }

            @Override
            void write(Tensor tensor, ByteBuffer bytes) {
                HostBytes.view(tensor.address(), tensor.bytes()).put(bytes);
            }

            @Override
            ByteBuffer read(Tensor tensor) {
                return HostBytes.view(tensor.address(), tensor.bytes());
            }

            @Override
            public void close() {
                blocks.close();
            }
        };
    }

    /** In a device's memory. */
    public static Operands on(Device device) {
        Memory memory = device.memory(Purpose.GRADIENTS);
        return new Operands() {
            @Override
            public Tensor allocate(DType dtype, long... shape) {
                return memory.allocate(dtype, shape);
            }

            @Override
            public void await(Pending pending) {
                pending.await();
                device.synchronize();
            }

            @Override
            void write(Tensor tensor, ByteBuffer bytes) {
                device.write(tensor, bytes);
            }

            @Override
            ByteBuffer read(Tensor tensor) {
                ByteBuffer bytes = bytes(tensor);
                device.read(tensor, bytes);
                return bytes.rewind();
            }

            @Override
            public void close() {
                memory.close();
            }
        };
    }
}
