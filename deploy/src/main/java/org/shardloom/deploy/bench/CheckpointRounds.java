package org.shardloom.deploy.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.shardloom.coordinator.run.CheckpointFiles;
import org.shardloom.coordinator.run.EvaluationHistory;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.CpuHostOps;
import org.shardloom.kernels.cpu.HostBytes;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.kernels.tensor.Tensor;
import org.shardloom.protocol.message.CoordinatorMessage.ShardWritten;
import org.shardloom.protocol.message.GuardState;
import org.shardloom.protocol.message.TrainingState;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.worker.checkpoint.Checkpoint;
import org.shardloom.worker.checkpoint.CheckpointTensors;
import org.shardloom.worker.checkpoint.HuggingFaceExport;
import org.shardloom.worker.checkpoint.ShardFiles;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.optim.OptimizerShard.Part;
import org.shardloom.worker.weights.SafetensorsWriter;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.zero.MasterWeights;
import org.shardloom.worker.zero.ZeroEngine;

/**
 * A worker's optimizer state, and rounds of: write and sync its tensors as one file; save it as a run does (write, sync, checksum,
 * manifest); verify the checksums; read it back; export it. Every round removes its files.
 */
final class CheckpointRounds implements AutoCloseable {
    private static final long PIECE = 16L << 20;
    private static final long MARGIN = 16L << 20;
    private static final int STATE_BYTES = 12;
    private static final int EXPORTED_BYTES = 2;
    private final Path scratch;
    private final List<UnitSpec> units;
    private final ShardPlan plan;
    private final CpuDevice device;
    private final Memory memory;
    private final OptimizerShard state;
    private final Path emptyModel;
    private final Map<String, Taken> results = new LinkedHashMap<>();
    private boolean measuring;

    /** Bytes of one operation and how long it took each time. */
    record Taken(long bytes, List<Double> seconds) {}

    /** What is timed. */
    @FunctionalInterface
    private interface Action {
        void run() throws IOException;
    }

    CheckpointRounds(BenchModel model, Path scratch) throws IOException {
        this.scratch = scratch;
        units = DecoderUnits.of(model.decoder());
        plan = ZeroEngine.planOf(units, 1);
        device = new CpuDevice(Runtime.getRuntime().availableProcessors());
        memory = device.memory(Purpose.OPTIMIZER);
        state = new OptimizerShard(plan, 0, units, model.optimizer(), memory, CpuHostOps.INSTANCE);
        MasterWeights.randomize(units, plan, 0, 1, model.decoder().layers(), state::master);
        emptyModel = Files.createDirectory(scratch.resolve("model"));
    }

    /** What one round has on the disk at most, and some more. */
    static long bytesNeeded(BenchModel model) {
        return model.parameters() * (STATE_BYTES + EXPORTED_BYTES) + MARGIN;
    }

    Map<String, Taken> results() {
        return results;
    }

    void round(boolean measured) throws IOException {
        measuring = measured;
        long bytes = stateBytes();
        Path single = scratch.resolve("tensors.safetensors");
        try (SafetensorsWriter writer = SafetensorsWriter.create(single, tensors(), Map.of())) {
            take("write", bytes, () -> append(writer));
            take("sync", bytes, writer::finish);
        }
        Files.delete(single);
        Path saved = scratch.resolve("checkpoint-1");
        take("save", bytes, () -> save(bytes));
        take("verify", bytes, () -> Checkpoint.open(saved, true).close());
        try (Checkpoint checkpoint = Checkpoint.open(saved, false)) {
            take("read", bytes, () -> checkpoint.load(plan, 0, state));
            long exported = units.stream().mapToLong(UnitSpec::parameterCount).sum() * EXPORTED_BYTES;
            Path target = scratch.resolve("export");
            take(
                    "export",
                    exported,
                    () -> HuggingFaceExport.write(
                            new CheckpointTensors(checkpoint, units),
                            units,
                            emptyModel,
                            emptyModel,
                            java.util.Optional.empty(),
                            target,
                            WeightDtype.BF16,
                            5_000_000_000L));
            deleteFiles(target);
        }
        deleteFiles(saved);
    }

    private void take(String operation, long bytes, Action action) throws IOException {
        long start = System.nanoTime();
        action.run();
        if (measuring) {
            results.computeIfAbsent(operation, o -> new Taken(bytes, new ArrayList<>()))
                    .seconds()
                    .add((System.nanoTime() - start) * 1e-9);
        }
    }

    private long stateBytes() {
        long elements = 0;
        for (int u = 0; u < units.size(); u++) {
            elements += plan.owned(u, 0).length();
        }
        return elements * STATE_BYTES;
    }

    private List<TensorInfo> tensors() {
        List<TensorInfo> all = new ArrayList<>();
        for (int u = 0; u < units.size(); u++) {
            for (Part part : Part.values()) {
                all.add(TensorInfo.of(
                        name(u, part), WeightDtype.F32, plan.owned(u, 0).length()));
            }
        }
        return all;
    }

    private String name(int unit, Part part) {
        return units.get(unit).name() + "/" + part.key;
    }

    private void append(SafetensorsWriter writer) throws IOException {
        for (int u = 0; u < units.size(); u++) {
            for (Part part : Part.values()) {
                Tensor tensor = state.get(u, part);
                long bytes = plan.owned(u, 0).length() * 4;
                for (long from = 0; from < bytes; from += PIECE) {
                    writer.append(
                            name(u, part), HostBytes.view(tensor.address() + from, Math.min(PIECE, bytes - from)));
                }
            }
        }
    }

    private void save(long bytes) throws IOException {
        save(scratch, plan, state, bytes);
    }

    /** A checkpoint of a run's first step with one worker: written as the worker and its coordinator do. */
    static void save(Path scratch, ShardPlan plan, OptimizerShard state, long bytes) throws IOException {
        CheckpointFiles files = new CheckpointFiles(scratch, 1);
        Path directory = files.prepare(1, bytes);
        ShardFiles.Written shard = ShardFiles.write(directory, plan, 0, state);
        files.commit(
                new CheckpointFiles.Facts(
                        new TrainingState(1, 1, 1, 0, GuardState.START),
                        1,
                        plan.units(),
                        0,
                        0,
                        java.util.OptionalDouble.empty(),
                        EvaluationHistory.NONE,
                        "",
                        "{}",
                        "",
                        "bench"),
                List.of(new ShardWritten(1, 0, 1, 0, shard.file(), shard.bytes(), shard.checksum())));
    }

    private static void deleteFiles(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            for (Path file : files.toList()) {
                Files.delete(file);
            }
        }
        Files.delete(directory);
    }

    @Override
    public void close() {
        memory.close();
        device.close();
    }
}
