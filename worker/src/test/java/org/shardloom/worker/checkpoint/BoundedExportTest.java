package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.shardloom.kernels.cpu.NativeCpu;
import org.shardloom.kernels.device.AttentionShape;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.DecoderConfig.Names;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ParameterSpec;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.tuning.MergedSource;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.weights.TensorInfo;
import org.shardloom.worker.weights.TensorSource;
import org.shardloom.worker.weights.WeightDtype;
import org.shardloom.worker.weights.WeightsDirectory;

/** What is written from a model, merged with an adapter or not, passes through a part of the memory that the model would take. */
@Timeout(120)
class BoundedExportTest {
    private static final long LIMIT = 100L << 20;
    private static final int RANK = 8;

    @TempDir
    Path directory;

    /** Tensors that are nowhere: each element is the same. */
    private record Endless(Map<String, TensorInfo> tensors, float value) implements TensorSource {
        @Override
        public void read(String name, long firstElement, FloatBuffer destination) {
            while (destination.hasRemaining()) {
                destination.put(value);
            }
        }

        @Override
        public void readRaw(String name, long firstElement, ByteBuffer destination) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void close() {}
    }

    private static void add(Map<String, TensorInfo> tensors, String name, long... shape) {
        List<Long> sizes = Arrays.stream(shape).boxed().toList();
        tensors.put(name, new TensorInfo(name, WeightDtype.F32, sizes));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void memoryStaysBounded(boolean merged) throws Exception {
        DecoderConfig config = new DecoderConfig(
                Names.CHATGLM,
                32000,
                1024,
                8,
                new AttentionShape(16, 2, 64, 32, true),
                4096,
                1e-5f,
                1e4,
                64,
                true,
                false);
        List<UnitSpec> units = DecoderUnits.of(config);
        Map<String, TensorInfo> base = new LinkedHashMap<>();
        Map<String, TensorInfo> factors = new LinkedHashMap<>();
        for (UnitSpec unit : units) {
            for (ParameterSpec p : unit.parameters().values()) {
                for (ParameterSpec.Source s : p.sources()) {
                    base.put(s.name(), new TensorInfo(s.name(), WeightDtype.F32, p.shapeOf(s)));
                    if (unit.name().startsWith("layers.") && !p.kind().isVector()) {
                        String module = "base_model.model." + s.name().replaceFirst("\\.weight$", "");
                        add(factors, module + ".lora_A.weight", RANK, p.columns());
                        add(factors, module + ".lora_B.weight", s.rows(), RANK);
                    }
                }
            }
        }
        long bytes = base.values().stream().mapToLong(TensorInfo::byteCount).sum();
        assertTrue(bytes > 7 * LIMIT, bytes + " bytes in fp32");
        AtomicBoolean over = new AtomicBoolean();
        AtomicLong most = new AtomicLong();
        touchTheHeap();
        long before = NativeCpu.residentBytes(false);
        Thread sampler = new Thread(() -> {
            while (!over.get()) {
                most.accumulateAndGet(NativeCpu.residentBytes(false), Math::max);
                LockSupport.parkNanos(500_000);
            }
        });
        sampler.start();
        Path target = directory.resolve("written");
        try (TensorSource source =
                merged ? new MergedSource(new Endless(base, 1), new Endless(factors, 0.5f), 2) : new Endless(base, 1)) {
            HuggingFaceExport.write(
                    source,
                    units,
                    SharedFixtures.tinyChatglm3(),
                    SharedFixtures.tinyChatglm3(),
                    Optional.empty(),
                    target,
                    WeightDtype.BF16,
                    64L << 20);
        } finally {
            over.set(true);
            sampler.join();
        }
        assertTrue(sizeOf(target) >= bytes / 2, "it is whole");
        assertTrue(before > 0 && most.get() > 0, "resident memory is known");
        assertTrue(most.get() - before < LIMIT, "resident memory has grown by " + (most.get() - before));
        try (TensorSource written = WeightsDirectory.open(target)) {
            FloatBuffer one = FloatBuffer.allocate(1);
            written.read("transformer.encoder.layers.7.mlp.dense_4h_to_h.weight", 1024 * 4096 - 1, one);
            assertEquals(merged ? 1 + 2 * RANK * 0.25f : 1, one.get(0));
        }
    }

    /** Pages of the young generation that nobody has touched yet would count as the export's. */
    private static void touchTheHeap() {
        for (int i = 0; i < 1024; i++) {
            byte[] block = new byte[1 << 20];
            block[i] = 1;
        }
        System.gc();
    }

    private static long sizeOf(Path written) throws IOException {
        try (Stream<Path> files = Files.list(written)) {
            return files.mapToLong(file -> file.toFile().length()).sum();
        }
    }
}
