package org.shardloom.worker.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.CpuHostOps;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.config.OptimizerConfig;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.zero.ZeroEngine;

class OptimizerShardTest {
    private static final OptimizerConfig ADAMW =
            new OptimizerConfig(OptimizerConfig.Type.ADAMW, 0.9, 0.99, 1e-8, 0.1, List.of("norm"));

    /** Of a unit with decayed and undecayed parameters and padding between them, on every rank. */
    @ParameterizedTest
    @CsvSource({
        "BF16,3,5,1",
        "BF16,70,1000,1",
        "F16,4096,1,1",
        "BF16,4095,9000,1",
        "F16,5000,100003,3",
        "F32,5000,7,2",
        "BF16,64,1000000,2"
    })
    void newWeightsMayTakeTheGradientsPlacePartByPart(DType dtype, int norm, int weight, int world) {
        List<UnitSpec> units = List.of(new UnitSpec.Builder("unit", 0)
                .add("norm.weight", ParameterSpec.Kind.NORM, 1, "norm", norm)
                .add("weight", ParameterSpec.Kind.WEIGHT, 1, "weight", weight)
                .build());
        for (int rank = 0; rank < world; rank++) {
            try (CpuDevice device = new CpuDevice(2);
                    Memory memory = device.memory(Purpose.OPTIMIZER)) {
                Tensor[] written = new Tensor[2];
                float[][][] state = new float[2][3][];
                for (int way = 0; way < 2; way++) {
                    OptimizerShard shard = new OptimizerShard(
                            ZeroEngine.planOf(units, world), rank, units, ADAMW, memory, CpuHostOps.INSTANCE);
                    Random random = new Random(7 + rank);
                    fill(device, shard.master(0), random);
                    Tensor gradient = memory.allocate(DType.F32, shard.master(0).elements());
                    Tensor elsewhere = memory.allocate(dtype, gradient.elements());
                    for (int step = 0; step < 2; step++) {
                        fill(device, gradient, random);
                        shard.beginUpdate();
                        if (way == 0) {
                            shard.update(0, 0, gradient, 1e-2, 0.5, elsewhere);
                            written[0] = elsewhere;
                        } else {
                            // In two parts, the second of which begins anywhere.
                            Tensor whole = memory.allocate(dtype, gradient.elements());
                            long cut = gradient.elements() * 3 / 7;
                            for (long from : new long[] {0, cut}) {
                                long count = from == 0 ? cut : gradient.elements() - cut;
                                Tensor part =
                                        shard.updateInPlace(0, from, gradient.slice(from, count), 1e-2, 0.5, dtype);
                                device.toDevice(whole.slice(from, count), part).await();
                            }
                            written[1] = whole;
                        }
                    }
                    for (OptimizerShard.Part part : OptimizerShard.Part.values()) {
                        state[way][part.ordinal()] = Inputs.toFloats(device, shard.get(0, part));
                    }
                }
                assertArrayEquals(state[0], state[1]);
                // Padding aside, which master weights tell: it is drawn, and neither way writes it.
                float[] expected = wide(device, memory, written[0]);
                float[] actual = wide(device, memory, written[1]);
                for (ParameterSpec p : units.get(0).parameters().values()) {
                    long slice = written[0].elements();
                    for (long i = p.offset(); i < p.offset() + p.elements(); i++) {
                        if (i / slice == rank) {
                            int at = (int) (i % slice);
                            assertArrayEquals(new float[] {expected[at]}, new float[] {actual[at]}, "element " + i);
                        }
                    }
                }
            }
        }
    }

    private static void fill(CpuDevice device, Tensor tensor, Random random) {
        try (Memory memory = device.memory(Purpose.WORKSPACE)) {
            float[] values = new float[(int) tensor.elements()];
            for (int i = 0; i < values.length; i++) {
                values[i] = (float) random.nextGaussian();
            }
            device.toDevice(tensor, Inputs.floats(device, memory, values, values.length));
        }
    }

    private static float[] wide(CpuDevice device, Memory memory, Tensor tensor) {
        Tensor wide = memory.allocate(DType.F32, tensor.elements());
        CpuHostOps.INSTANCE.convert(wide, tensor);
        return Inputs.toFloats(device, wide);
    }
}
