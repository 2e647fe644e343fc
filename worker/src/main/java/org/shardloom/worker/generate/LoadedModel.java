package org.shardloom.worker.generate;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.IndexTensor;
import org.shardloom.kernels.device.Inputs;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.DType;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.model.BatchOnDevice;
import org.shardloom.worker.model.Decoder;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.PackedBatch;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.model.UnitView;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightsDirectory;
import org.shardloom.worker.zero.MasterWeights;

/** A whole model in one process, in fp32, for forward passes. One thread. */
public final class LoadedModel implements AutoCloseable {
    private static final int CHUNK = 1 << 20;
    private final CpuDevice device;
    private final Decoder decoder;
    private final Memory memory;
    private final int positions;
    private final List<UnitView> units = new ArrayList<>();

    private LoadedModel(DecoderConfig config, int threads, int positions) {
        this.device = new CpuDevice(threads);
        this.positions = positions;
        this.decoder = new Decoder(config, device, positions);
        this.memory = device.memory(Purpose.PARAMETERS);
        for (UnitSpec unit : decoder.units()) {
            Tensor flat = memory.allocate(DType.F32, unit.elements());
            device.ops().zero(flat);
            units.add(new UnitView(unit, flat));
        }
    }

    /**
     * Reads a Hugging Face directory, or a checkpoint of a run.
     *
     * @param directory with config.json and weights, or with manifest.pb
     * @param positions longest sequence that will be seen
     */
    public static LoadedModel open(Path directory, int threads, int positions) throws IOException {
        if (Files.exists(directory.resolve("manifest.pb"))) {
            return openCheckpoint(directory, threads, positions);
        }
        DecoderConfig config = ModelConfigReader.read(directory);
        try (TensorSource source = WeightsDirectory.open(directory)) {
            MasterWeights.check(DecoderUnits.of(config), source, directory.toString());
            LoadedModel model = new LoadedModel(config, threads, positions);
            for (UnitView unit : model.units) {
                for (ParameterSpec p : unit.spec().parameters().values()) {
                    for (ParameterSpec.Source s : p.sources()) {
                        long start = p.offset() + s.firstRow() * p.columns();
                        model.fill(
                                unit.flat(),
                                start,
                                s.rows() * p.columns(),
                                (from, to) -> source.read(s.name(), from, to));
                    }
                }
            }
            return model;
        }
    }

    private static LoadedModel openCheckpoint(Path directory, int threads, int positions) throws IOException {
        try (Checkpoint checkpoint = Checkpoint.open(directory, false)) {
            Path temporary = Files.createTempDirectory("shardloom-config");
            try {
                Files.writeString(
                        temporary.resolve("config.json"), checkpoint.manifest().getModelConfigJson());
                LoadedModel model = new LoadedModel(ModelConfigReader.read(temporary), threads, positions);
                for (int u = 0; u < model.units.size(); u++) {
                    int unit = u;
                    Tensor flat = model.units.get(u).flat();
                    model.fill(
                            flat,
                            0,
                            flat.elements(),
                            (from, to) -> checkpoint.read(unit, OptimizerShard.Part.MASTER, from, to));
                }
                return model;
            } finally {
                Files.deleteIfExists(temporary.resolve("config.json"));
                Files.delete(temporary);
            }
        }
    }

    private interface Reader {
        void read(long from, FloatBuffer to) throws IOException;
    }

    private void fill(Tensor flat, long start, long count, Reader reader) throws IOException {
        for (long from = 0; from < count; from += CHUNK) {
            long length = Math.min(CHUNK, count - from);
            reader.read(
                    from,
                    HostBytes.view(flat.address() + (start + from) * 4, length * 4)
                            .asFloatBuffer());
        }
    }

    public DecoderConfig config() {
        return decoder.config();
    }

    /** Longest sequence. */
    public int positions() {
        return positions;
    }

    /**
     * fp32 logits after the last token of each sequence: [sequences][vocabulary].
     *
     * @throws IllegalArgumentException when a sequence is empty or too long, or has an id that the model does not know
     */
    public float[][] lastLogits(List<int[]> sequences) {
        return logits(sequences, true);
    }

    /** fp32 logits after every token of every sequence, in order. */
    public float[][] allLogits(List<int[]> sequences) {
        return logits(sequences, false);
    }

    private void check(int[] sequence) {
        if (sequence.length == 0 || sequence.length > positions) {
            throw new IllegalArgumentException(
                    "a sequence of " + sequence.length + " tokens, expected 1 to " + positions);
        }
        for (int id : sequence) {
            if (id < 0 || id >= config().vocabulary()) {
                throw new IllegalArgumentException(
                        "token id " + id + " is not one of the model's " + config().vocabulary());
            }
        }
    }

    private float[][] logits(List<int[]> sequences, boolean lastOnly) {
        sequences.forEach(this::check);
        PackedBatch batch = PackedBatch.of(sequences, sequences);
        try (Memory scope = device.memory(Purpose.ACTIVATIONS)) {
            BatchOnDevice inputs = BatchOnDevice.of(device, scope, batch, false);
            Tensor x = scope.allocate(DType.F32, batch.tokens(), config().hidden());
            Tensor y = scope.allocate(DType.F32, batch.tokens(), config().hidden());
            decoder.embed(units.get(0), inputs, x);
            for (int u = 1; u < units.size() - 1; u++) {
                try (Memory layer = device.memory(Purpose.ACTIVATIONS)) {
                    decoder.layer(units.get(u), inputs, x, layer, y);
                }
                Tensor swap = x;
                x = y;
                y = swap;
            }
            int[] rows = new int[lastOnly ? sequences.size() : batch.tokens()];
            for (int i = 0; i < rows.length; i++) {
                rows[i] = lastOnly ? batch.starts()[i + 1] - 1 : i;
            }
            IndexTensor indices = Inputs.indices(device, scope, rows);
            float[] flat = Inputs.toFloats(
                    device, decoder.logits(units.get(units.size() - 1), units.get(0), x, indices, scope));
            float[][] result = new float[rows.length][config().vocabulary()];
            for (int i = 0; i < rows.length; i++) {
                System.arraycopy(flat, i * config().vocabulary(), result[i], 0, config().vocabulary());
            }
            return result;
        }
    }

    @Override
    public void close() {
        memory.close();
        decoder.close();
        device.close();
    }
}
