package org.shardloom.deploy.doctor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.shardloom.deploy.doctor.Finding.Status;
import org.shardloom.deploy.quickstart.QuickstartFiles;
import org.shardloom.kernels.cuda.probe.CudaLibrary;
import org.shardloom.kernels.cuda.probe.Driver;
import org.shardloom.kernels.cuda.probe.Gpu;
import org.shardloom.kernels.cuda.probe.GpuState;
import org.shardloom.kernels.cuda.probe.GpuState.GpuProcess;
import org.shardloom.kernels.cuda.probe.GpuState.Throttle;
import org.shardloom.kernels.cuda.probe.Nccl;
import org.shardloom.kernels.cuda.probe.Nvml;
import org.shardloom.protocol.config.JobConfig;
import org.shardloom.protocol.config.JobConfigException;
import org.shardloom.protocol.config.JobFile;
import org.shardloom.worker.model.DecoderConfig;
import org.shardloom.worker.model.ModelConfigReader;
import org.shardloom.worker.plan.Fit;
import org.shardloom.worker.plan.HostFit;

/** What each check makes of facts that are written down here, of hosts that nobody has. */
class ChecksTest {
    private static final long GB = 1_000_000_000;
    private static final HostFacts HOST =
            new HostFacts(16 * GB, 0, OptionalLong.of(8 * GB), Long.MAX_VALUE, 1 << 20, 0, 4096, "madvise");
    private static final List<CudaLibrary> LIBRARIES = List.of(
            library("libcublas.so.12", "cuBLAS", true, false),
            library("libnvrtc.so.12", "NVRTC", false, true),
            library("libcudart.so.12", "CUDA runtime", true, false));
    private static final Nccl NCCL = new Nccl(Optional.empty(), 22304);

    @TempDir
    static Path directory;

    private static QuickstartFiles files;
    private static DecoderConfig model;

    @BeforeAll
    static void writeAJob() throws IOException {
        files = QuickstartFiles.create(directory, 1);
        model = ModelConfigReader.read(files.model());
    }

    private static JobNeeds needs(int longest, String... settings) {
        List<String> given = List.of(settings);
        return new JobNeeds(job(given, List.of()), model, more -> allowed(given, more), () -> longest);
    }

    private static Optional<JobConfig> allowed(List<String> given, List<String> more) {
        try {
            return Optional.of(job(given, more));
        } catch (JobConfigException e) {
            return Optional.empty();
        }
    }

    private static JobConfig job(List<String> given, List<String> more) {
        List<String> all = new ArrayList<>(given);
        all.addAll(more);
        return JobFile.load(files.job(), all).config();
    }

    private static Gpu gpu(int ordinal, int major, long bytes, Integer... peers) {
        return new Gpu(
                ordinal,
                "card",
                "GPU-" + ordinal + "abc",
                "0000:0" + ordinal + ":00.0",
                major,
                0,
                bytes,
                Set.of(peers));
    }

    private static Driver driver(Gpu... gpus) {
        return new Driver(Optional.empty(), 12060, List.of(gpus));
    }

    private static GpuState state(int index, long free, long errors, Set<Throttle> slowedBy, GpuProcess... processes) {
        return new GpuState(
                index,
                "card",
                "GPU-" + index + "abc",
                "00000000:0" + index + ":00.0",
                Optional.empty(),
                OptionalLong.of(free),
                List.of(processes),
                Optional.of(true),
                OptionalLong.of(errors),
                slowedBy,
                OptionalInt.of(50),
                4,
                false,
                false);
    }

    private static CudaLibrary library(String file, String name, boolean host, boolean brought) {
        Optional<String> problem = host ? Optional.empty() : Optional.of(file + ": cannot open");
        return new CudaLibrary(file, name, problem, brought);
    }

    private static Nvml nvml(GpuState... gpus) {
        return new Nvml(Optional.empty(), "560.1", List.of(gpus));
    }

    private static Nvml noNvml() {
        return new Nvml(Optional.of("nvmlInit returned 18, mismatch"), "", List.of());
    }

    private static Situation wanting(int workers, Driver driver, Nvml nvml, Nccl nccl, JobNeeds... needs) {
        return new Situation(
                true,
                workers,
                false,
                HOST,
                Optional.of(new GpuFacts(driver, nvml, nccl, LIBRARIES, Optional.empty())),
                List.of(needs).stream().findFirst());
    }

    private static Finding only(Check check, Situation situation) {
        List<Finding> findings = check.look(situation);
        assertEquals(1, findings.size(), findings.toString());
        return findings.get(0);
    }

    private static void is(Status status, Finding finding, String... words) {
        assertEquals(status, finding.status(), finding.toString());
        assertEquals(1, finding.line().lines().count(), finding.line());
        for (String word : words) {
            assertTrue(finding.line().contains(word), "'" + word + "' in: " + finding.line());
        }
    }

    @Test
    void aDriverIsAskedForOnlyWhereGpusAre() {
        Driver absent = new Driver(Optional.of("no NVIDIA driver: libcuda.so.1: cannot open"), 0, List.of());
        Situation wanted = wanting(1, absent, noNvml(), NCCL);
        is(Status.ERROR, only(new DriverCheck(), wanted), "no NVIDIA driver", "525", "device: cpu");
        Situation processors = new Situation(false, 4, false, HOST, wanted.gpus(), Optional.empty());
        is(Status.OK, only(new DriverCheck(), processors), "workers compute on this host's processors");
        assertEquals(List.of(), new NvmlCheck().look(wanted), "what follows from it is not said, too");
        assertEquals(List.of(), new WorkersCheck().look(wanted));
        is(Status.OK, only(new DriverCheck(), wanting(1, driver(gpu(0, 8, GB)), nvml(), NCCL)), "560.1, for CUDA 12.6");
    }

    @Test
    void eachWorkerHasAGpuOfItsOwn() {
        Driver two = driver(gpu(0, 8, GB), gpu(1, 8, GB));
        is(Status.OK, only(new WorkersCheck(), wanting(2, two, nvml(), NCCL)));
        is(
                Status.ERROR,
                only(new WorkersCheck(), wanting(3, two, nvml(), NCCL)),
                "3 workers need 3 GPUs, and the driver shows 2",
                "--workers 2");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "0,1|",
                "GPU-0,GPU-1abc|",
                "MIG-1234|",
                "1,7|names '7', but this host has GPUs 0 to 1",
                "GPU-9|names 'GPU-9', but this host has GPU-0abc, GPU-1abc",
                "banana|names 'banana'",
                "0,1,0|names GPU 0 twice: two workers on one GPU",
                "1,GPU-1abc|names GPU 1 twice"
            })
    void visibleDevicesThatAreNotThereAreNamed(String visible, String words) {
        GpuState[] all = {state(0, GB, 0, Set.of()), state(1, GB, 0, Set.of())};
        List<String> problems = VisibleDevicesCheck.problems(visible, List.of(all));
        assertEquals(words == null ? 0 : 1, problems.size(), problems.toString());
        assertTrue(words == null || problems.get(0).contains(words), problems.toString());
    }

    @Test
    void visibleDevicesAreJudgedWithoutNvmlToo() {
        Situation situation = wanting(2, driver(gpu(0, 8, GB)), noNvml(), NCCL);
        GpuFacts facts = situation.gpus().get();
        GpuFacts twice = new GpuFacts(facts.driver(), facts.nvml(), facts.nccl(), LIBRARIES, Optional.of("0,0"));
        is(
                Status.ERROR,
                only(
                        new VisibleDevicesCheck(),
                        new Situation(true, 2, false, HOST, Optional.of(twice), Optional.empty())),
                "names 0 twice");
    }

    @Test
    void theKernelsNeedBf16() {
        is(
                Status.ERROR,
                only(new DevicesCheck(), wanting(1, driver(gpu(0, 7, GB)), nvml(), NCCL)),
                "capability 7.0",
                "need 8.0");
        is(Status.WARNING, only(new DevicesCheck(), wanting(1, driver(gpu(0, 12, GB)), nvml(), NCCL)), "NVRTC");
        List<Finding> mixed =
                new DevicesCheck().look(wanting(2, driver(gpu(0, 7, GB), gpu(1, 9, GB), gpu(2, 9, GB)), nvml(), NCCL));
        assertEquals(3, mixed.size());
        is(Status.OK, mixed.get(0), "GPU 0 ", "pass it over");
        is(Status.OK, mixed.get(1), "GPU 1 ");
        is(Status.OK, mixed.get(2), "GPU 2 ");
        is(
                Status.ERROR,
                only(new WorkersCheck(), wanting(3, driver(gpu(0, 7, GB), gpu(1, 9, GB), gpu(2, 9, GB)), nvml(), NCCL)),
                "the driver shows 2 that the kernels run on",
                "--workers 2");
    }

    @Test
    void anNvmlThatFailsIsAWarningThatSaysWhatIsLost() {
        is(
                Status.WARNING,
                only(new NvmlCheck(), wanting(1, driver(gpu(0, 8, GB)), noNvml(), NCCL)),
                "nvmlInit returned 18",
                "ECC errors, throttling",
                "libnvidia-ml.so.1");
        assertEquals(List.of(), new HealthCheck().look(wanting(1, driver(gpu(0, 8, GB)), noNvml(), NCCL)));
    }

    @Test
    void sickGpusAreNamed() {
        Driver one = driver(gpu(0, 8, 24 * GB));
        is(
                Status.WARNING,
                only(new HealthCheck(), wanting(1, one, nvml(state(0, GB, 3, Set.of())), NCCL)),
                "GPU 0 has had 3 memory errors",
                "--gpu-reset");
        is(
                Status.WARNING,
                only(new HealthCheck(), wanting(1, one, nvml(state(0, GB, 0, Set.of(Throttle.POWER_BRAKE))), NCCL)),
                "at 50 degrees is slowed by the power supply's brake");
        is(
                Status.OK,
                only(new HealthCheck(), wanting(1, one, nvml(state(0, GB, 0, Set.of(Throttle.POWER_LIMIT))), NCCL)),
                "ECC on");
    }

    @Test
    void whoHoldsMemoryIsNamed() {
        Driver one = driver(gpu(0, 8, 24 * GB));
        GpuProcess python = new GpuProcess(4242, "python", OptionalLong.of(18 * GB));
        is(
                Status.WARNING,
                only(new HoldersCheck(), wanting(1, one, nvml(state(0, 6 * GB, 0, Set.of(), python)), NCCL)),
                "GPU 0 has 6.0 GB of 24.0 GB free",
                "process 4242 (python) holds 18.0 GB");
        is(
                Status.WARNING,
                only(new HoldersCheck(), wanting(1, one, nvml(state(0, 6 * GB, 0, Set.of())), NCCL)),
                "does not say who");
        is(Status.OK, only(new HoldersCheck(), wanting(1, one, nvml(state(0, 23_500_000_000L, 0, Set.of())), NCCL)));
    }

    @Test
    void gpusThatDoNotReachEachOtherAreNamed() {
        is(
                Status.WARNING,
                only(
                        new PeersCheck(),
                        wanting(3, driver(gpu(0, 8, GB, 1), gpu(1, 8, GB, 0), gpu(2, 8, GB)), nvml(), NCCL)),
                "GPUs 0 and 2, 1 and 2 cannot reach");
        is(
                Status.OK,
                only(
                        new PeersCheck(),
                        wanting(2, driver(gpu(0, 8, GB, 1), gpu(1, 8, GB, 0)), nvml(state(0, GB, 0, Set.of())), NCCL)),
                "over 4 NVLinks");
    }

    @Test
    void ncclIsNeededByMoreThanOneWorker() {
        Driver two = driver(gpu(0, 8, GB), gpu(1, 8, GB));
        Nccl absent = new Nccl(Optional.of("libnccl.so.2: cannot open"), 0);
        is(
                Status.ERROR,
                only(new NcclCheck(), wanting(2, two, nvml(), absent)),
                "no NCCL: libnccl.so.2",
                "--workers 1");
        is(Status.WARNING, only(new NcclCheck(), wanting(1, two, nvml(), absent)), "no NCCL");
        is(
                Status.ERROR,
                only(new NcclCheck(), wanting(2, two, nvml(), new Nccl(Optional.empty(), 21203))),
                "NCCL 2.12.3 is too old: 2.19.1 is needed");
        is(Status.OK, only(new NcclCheck(), wanting(2, two, nvml(), NCCL)), "NCCL 2.23.4", "/dev/shm");
    }

    @Test
    void librariesAreTheHostsOrBroughtAlong() {
        Driver two = driver(gpu(0, 8, GB), gpu(1, 8, GB));
        Situation whole = wanting(2, two, nvml(), NCCL);
        is(
                Status.OK,
                only(new LibrariesCheck(), whole),
                "cuBLAS (libcublas.so.12) of the host, NVRTC (libnvrtc.so.12) brought along");
        List<CudaLibrary> few = List.of(
                library("libcublas.so.12", "cuBLAS", false, false),
                library("libnvrtc.so.12", "NVRTC", true, false),
                library("libcudart.so.12", "CUDA runtime", false, false));
        GpuFacts facts = new GpuFacts(two, nvml(), NCCL, few, Optional.empty());
        Situation alone = new Situation(true, 1, false, HOST, Optional.of(facts), Optional.empty());
        is(
                Status.ERROR,
                only(new LibrariesCheck(), alone),
                "no cuBLAS: libcublas.so.12: cannot open",
                "install libcublas.so.12 of CUDA 12",
                "-Pcuda-redist");
        Situation both = new Situation(true, 2, false, HOST, Optional.of(facts), Optional.empty());
        List<Finding> findings = new LibrariesCheck().look(both);
        assertEquals(2, findings.size(), findings.toString());
        is(Status.ERROR, findings.get(1), "no CUDA runtime: libcudart.so.12");
        Situation processors = new Situation(false, 1, false, HOST, Optional.of(facts), Optional.empty());
        is(Status.WARNING, only(new LibrariesCheck(), processors), "no cuBLAS");
    }

    @Test
    void aGpuThatIsTooSmallIsRefusedWithTheChangeThatFits() {
        JobNeeds needs = needs(128, "workers=2", "gradient_checkpointing=false");
        long peak = needs.atLeastOnGpus().devicePeakBytes();
        Gpu[] gpus = {gpu(0, 8, 24 * GB), gpu(1, 8, 24 * GB)};
        GpuProcess other = new GpuProcess(7, "other", OptionalLong.of(24 * GB - peak));
        Situation situation = wanting(
                2,
                driver(gpus),
                nvml(state(0, 24 * GB, 0, Set.of()), state(1, peak - 1, 0, Set.of(), other)),
                NCCL,
                needs);
        is(Status.ERROR, only(new DeviceMemoryCheck(), situation), "GPU 1 has", "process 7 (other)", "end what holds");
        Situation enough = wanting(
                2, driver(gpus), nvml(state(0, 24 * GB, 0, Set.of()), state(1, peak, 0, Set.of())), NCCL, needs);
        is(Status.WARNING, only(new DeviceMemoryCheck(), enough), "may be too little");
        Situation plenty = wanting(2, driver(gpus), noNvml(), NCCL, needs);
        is(Status.OK, only(new DeviceMemoryCheck(), plenty), "24.0 GB of 24.0 GB free");
    }

    /** Nothing can be ended to make room for what driver and libraries take beside the least that the job needs. */
    @Test
    void aCardWithoutRoomForDriverAndLibrariesIsRefused() {
        JobNeeds needs = needs(128, "workers=2", "gradient_checkpointing=false");
        long least = needs.atLeastOnGpus().devicePeakBytes();
        Finding refused = only(new DeviceMemoryCheck(), onGpus(GB, 0, least + Fit.RESERVED - 1, needs));
        is(Status.ERROR, refused, "the job needs at least ", "for driver and libraries");
        assertFalse(refused.line().contains("end what holds"), refused.line());
        GpuProcess other = new GpuProcess(7, "other", OptionalLong.of(Fit.RESERVED));
        long total = least + Fit.RESERVED;
        Situation shared = wanting(
                2,
                driver(gpu(0, 8, total), gpu(1, 8, total)),
                nvml(state(0, total, 0, Set.of()), state(1, least, 0, Set.of(), other)),
                NCCL,
                needs);
        is(Status.WARNING, only(new DeviceMemoryCheck(), shared), "may be too little", "process 7 (other)");
    }

    /** A job that may run is not refused: of a micro-batch of eight only one sample is surely as long as the longest. */
    @Test
    void whatSamplesMayNeedIsAWarningAndWhatOneSurelyNeedsAnError() {
        String[] settings = {"workers=1", "train.micro_batch_size=8", "gradient_checkpointing=false"};
        long most = needs(128, settings).atMostOnProcessors().bytes();
        long least = needs(16, settings).atLeastOnProcessors().bytes();
        assertTrue(least < most - 1_000_000, least + " of " + most);
        is(Status.OK, only(new HostMemoryCheck(), on(most, 0, needs(16, settings))));
        is(Status.WARNING, only(new HostMemoryCheck(), on(least, 0, needs(16, settings))), "meet in a micro-batch");
        is(
                Status.ERROR,
                only(new HostMemoryCheck(), on(least - 1, 0, needs(16, settings))),
                "needs at least",
                "1 worker");
    }

    private static Situation on(long available, long swap, JobNeeds needs) {
        HostFacts host = new HostFacts(available, swap, OptionalLong.empty(), Long.MAX_VALUE, 1024, 0, 4096, "always");
        return new Situation(false, 4, false, host, Optional.empty(), Optional.of(needs));
    }

    @Test
    void aHostThatIsTooSmallIsRefusedWithTheChangeThatFits() {
        JobNeeds needs = needs(128);
        long bytes = needs.atLeastOnProcessors().bytes();
        is(
                Status.ERROR,
                only(new HostMemoryCheck(), on(bytes - 1, 0, needs)),
                "the job needs",
                "4 workers of",
                "it would fit with --set ");
        is(Status.WARNING, only(new HostMemoryCheck(), on(bytes - 1, 1, needs)), "swap");
        is(
                Status.ERROR,
                only(new HostMemoryCheck(), on(1000, 0, needs)),
                "no recomputation, micro-batch, stage or number of workers");
        assertEquals(
                List.of(),
                new HostMemoryCheck().look(new Situation(false, 0, true, HOST, Optional.empty(), Optional.of(needs))),
                "memory of other hosts is not known");
    }

    /** What the GPUs' workers lock cannot swap, so swap is no room for it; what lies on the host without need can go to the GPUs. */
    @Test
    void pageLockedMemoryMustBeThere() {
        JobNeeds needs = needs(128, "workers=2", "precision=bf16", "zero={stage: 3, offload_params: true}");
        long parameters = needs.atMostOnGpus().parameters();
        HostFit fit = HostFit.ofGpus(needs.job(), needs.atMostOnGpus());
        long locked = fit.plan().hostBytes();
        assertTrue(locked >= 18 * parameters, locked + " bytes for " + parameters + " parameters");
        is(Status.OK, only(new HostMemoryCheck(), onGpus(fit.bytes(), 0, 24 * GB, needs)));
        is(Status.WARNING, only(new HostMemoryCheck(), onGpus(locked, GB, 24 * GB, needs)), "swap");
        is(Status.ERROR, only(new HostMemoryCheck(), onGpus(locked, 0, 24 * GB, needs)), "2 workers of");
        is(
                Status.ERROR,
                only(new HostMemoryCheck(), onGpus(locked - 1, 100 * GB, 24 * GB, needs)),
                "page-locked, which cannot swap");
        long room = Fit.RESERVED
                + needs(128, "workers=2", "precision=bf16", "zero={stage: 3, offload_params: false}")
                        .atMostOnGpus()
                        .devicePeakBytes();
        is(
                Status.WARNING,
                only(new HostMemoryCheck(), onGpus(fit.bytes() - parameters, 100 * GB, room, needs)),
                "it would fit with --set zero.offload_params=false: ");
        is(
                Status.WARNING,
                only(new HostMemoryCheck(), onGpus(fit.bytes() - 10 * parameters, 100 * GB, 24 * GB, needs)),
                "it would fit with --set zero.offload_params=false --set zero.offload_optimizer=false: ");
        is(
                Status.WARNING,
                only(new HostMemoryCheck(), onGpus(fit.bytes() - 10 * parameters, 100 * GB, room, needs)),
                "train less of the model");
    }

    private static Situation onGpus(long available, long swap, long bytesOfEach, JobNeeds needs) {
        Driver driver = driver(gpu(0, 8, bytesOfEach), gpu(1, 8, bytesOfEach));
        HostFacts host = new HostFacts(available, swap, OptionalLong.empty(), Long.MAX_VALUE, 1024, 0, 4096, "always");
        GpuFacts facts = new GpuFacts(driver, noNvml(), NCCL, LIBRARIES, Optional.empty());
        return new Situation(true, needs.job().workers(), false, host, Optional.of(facts), Optional.of(needs));
    }

    @Test
    void checkpointsThatDoNotFitTheDiskAreAWarning() {
        JobNeeds many = needs(128, "checkpoint.keep_last=2000000000", "output_dir=" + directory.resolve("a/b"));
        is(Status.WARNING, only(new DiskCheck(), on(GB, 0, many)), "the run will pause", "checkpoint.keep_last", "a/b");
        assertFalse(Files.exists(directory.resolve("a")));
        is(Status.OK, only(new DiskCheck(), on(GB, 0, needs(128))));
    }

    @Test
    void withoutAJobTheDiskIsThatOfTheCurrentDirectory() {
        Situation any = new Situation(false, 0, false, HOST, Optional.empty(), Optional.empty());
        String here = Path.of("").toAbsolutePath().toString();
        assertTrue(only(new DiskCheck(), any).found().contains(" are free in " + here));
        is(Status.OK, DiskCheck.of(directory, 10 * GB), "10.0 GB are free in " + directory);
        is(
                Status.WARNING,
                DiskCheck.of(directory, 10 * GB - 1),
                "a run whose checkpoints do not fit pauses",
                "output_dir",
                "--config FILE");
    }

    @Test
    void aJobOnProcessorsOfASoundHostGivesNothingToSay() {
        JobNeeds needs = needs(128);
        Set<Status> said = new TreeSet<>();
        Doctor.examine(on(16 * GB, 0, needs)).forEach(f -> said.add(f.status()));
        assertEquals(Set.of(Status.OK), said);
    }

    @Test
    void limitsThatAreTooLowAreNamed() {
        HostFacts low = new HostFacts(GB, 0, OptionalLong.of(64 << 20), 64 << 10, 256, 0, 4096, "never");
        Situation situation = new Situation(true, 4, true, low, Optional.empty(), Optional.empty());
        List<Finding> limits = new LimitsCheck().look(situation);
        is(Status.WARNING, limits.get(0), "may open 256 files", "ulimit -n");
        is(Status.WARNING, limits.get(1), "InfiniBand", "ulimit -l unlimited");
        is(Status.WARNING, only(new SharedMemoryCheck(), situation), "67.11 MB", "NCCL", "--shm-size");
        is(Status.OK, only(new PagesCheck(), situation), "huge pages: never", "echo madvise");
    }
}
