package org.shardloom.worker.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.shardloom.kernels.cpu.CpuDevice;
import org.shardloom.kernels.cpu.CpuHostOps;
import org.shardloom.kernels.device.Memory;
import org.shardloom.kernels.device.Purpose;
import org.shardloom.protocol.disk.NoSpaceException;
import org.shardloom.protocol.plan.ShardPlan;
import org.shardloom.protocol.plan.UnitSize;
import org.shardloom.worker.model.DecoderUnits;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.model.UnitSpec;
import org.shardloom.worker.optim.OptimizerShard;
import org.shardloom.worker.weights.SafetensorsFile;
import org.shardloom.worker.weights.SharedFixtures;
import org.shardloom.worker.zero.Ranks;
import org.shardloom.worker.zero.TinyModel;

@Timeout(value = 60, unit = TimeUnit.SECONDS)
class ShardFilesTest {
    private static final List<UnitSpec> UNITS = DecoderUnits.of(ModelConfigReader.read(SharedFixtures.tinyChatglm3()));

    @TempDir
    Path directory;

    private static ShardPlan plan(int world) {
        return new ShardPlan(
                world,
                UNITS.stream().map(u -> new UnitSize(u.name(), u.elements())).toList());
    }

    private static ShardFiles.Written write(Path directory, int world, int rank) throws IOException {
        try (CpuDevice device = new CpuDevice(1);
                Memory memory = device.memory(Purpose.OPTIMIZER)) {
            return ShardFiles.write(
                    directory,
                    plan(world),
                    rank,
                    new OptimizerShard(plan(world), rank, UNITS, TinyModel.ADAMW, memory, CpuHostOps.INSTANCE));
        }
    }

    @Test
    void aRankThatOwnsNothingOfAUnitWritesAnEmptyTensor() throws Exception {
        int world = 3000;
        ShardFiles.Written written = write(directory, world, world - 1);
        assertEquals("shard-02999-of-03000.safetensors", written.file());
        try (SafetensorsFile file = SafetensorsFile.open(directory.resolve(written.file()))) {
            assertEquals(UNITS.size() * 3, file.tensors().size());
            assertEquals(0, file.info("head/exp_avg").elementCount());
        }
    }

    @Test
    void ranksThatWriteAtTheSameTimeDoNotDisturbEachOther() throws Exception {
        for (int attempt = 0; attempt < 30; attempt++) {
            Path target = Files.createDirectory(directory.resolve("checkpoint-" + attempt));
            List<ShardFiles.Written> all = Ranks.parallel(8, rank -> write(target, 8, rank));
            for (int rank = 0; rank < 8; rank++) {
                assertEquals(ShardFiles.fileName(rank, 8), all.get(rank).file());
                assertEquals(
                        Files.size(target.resolve(all.get(rank).file())),
                        all.get(rank).bytes());
            }
            assertEquals(8, count(target), "nothing else is left");
        }
    }

    @Test
    void aDiskThatIsTooSmallIsRefusedBeforeAnythingIsWritten() throws Exception {
        try (SmallDisk disk = SmallDisk.mount(directory.resolve("disk"), "1m")) {
            NoSpaceException e = assertThrows(NoSpaceException.class, () -> write(disk.path, 2, 0));
            assertTrue(e.getMessage().contains("no space for a rank's shard"), e.getMessage());
            assertTrue(e.getMessage().contains("MB needed"), e.getMessage());
            assertEquals(List.of(), disk.names());
        }
    }

    @Test
    void whatOthersHaveTakenOfTheDiskIsNotFree() throws Exception {
        try (SmallDisk disk = SmallDisk.mount(directory.resolve("disk"), "4m")) {
            Files.write(disk.path.resolve("somebody-elses"), new byte[3_950_000]);
            NoSpaceException e = assertThrows(NoSpaceException.class, () -> write(disk.path, 4, 0));
            assertTrue(e.getMessage().contains("no space for a rank's shard"), e.getMessage());
            assertTrue(e.getMessage().matches(".* \\d\\.\\d MB needed, 0\\.[0-3] MB free"), e.getMessage());
            assertEquals(List.of("somebody-elses"), disk.names());
        }
    }

    private static long count(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.count();
        }
    }
}
