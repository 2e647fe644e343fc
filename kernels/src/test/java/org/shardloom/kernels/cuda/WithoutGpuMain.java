package org.shardloom.kernels.cuda;

import static org.junit.platform.engine.discovery.ClassNameFilter.excludeClassNamePatterns;
import static org.junit.platform.engine.discovery.ClassNameFilter.includeClassNamePatterns;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectPackage;

import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/** Runs the tests of the CUDA device and of NCCL as on GPUs, and prints how they ended. */
final class WithoutGpuMain {
    /** Of these, none asks for a GPU, and most start processes. */
    private static final String OTHERS =
            ".*\\.(probe\\..*|(Nvrtc|CompileStep|SimulatedProcess|MissingLibrary|BroughtLibraries|WithoutGpu)Test)";

    private WithoutGpuMain() {}

    public static void main(String[] arguments) {
        LauncherDiscoveryRequest request = LauncherDiscoveryRequestBuilder.request()
                .selectors(
                        selectPackage("org.shardloom.kernels.cuda"),
                        selectPackage("org.shardloom.kernels.collective.nccl"))
                .filters(includeClassNamePatterns(".*Test"), excludeClassNamePatterns(OTHERS))
                .build();
        SummaryGeneratingListener listener = new SummaryGeneratingListener();
        LauncherFactory.create().execute(request, listener);
        TestExecutionSummary summary = listener.getSummary();
        for (TestExecutionSummary.Failure failure : summary.getFailures()) {
            System.out.println(failure.getTestIdentifier().getUniqueId() + ": " + failure.getException());
        }
        System.out.println(summary.getTestsFailedCount() + summary.getContainersFailedCount() + " failed");
        System.out.println(summary.getTestsSkippedCount() + summary.getTestsAbortedCount() + " skipped");
        System.exit(0); // whatever thread a test has left
    }
}
