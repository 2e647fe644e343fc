package org.shardloom.deploy.architecture;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.library.dependencies.SlicesRuleDefinition;

/**
 * Dependencies point one way, as the architecture page says. Think hard before loosening one of these: every layer rests on knowing
 * nothing of those above it.
 */
@AnalyzeClasses(packages = "org.shardloom", importOptions = ImportOption.DoNotIncludeTests.class)
class LayeringTest {
    private static final String AKKA = "akka..";

    @ArchTest
    static final ArchRule protocolKnowsNoOtherModule = noClasses()
            .that()
            .resideInAPackage("org.shardloom.protocol..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(
                    "org.shardloom.kernels..",
                    "org.shardloom.worker..",
                    "org.shardloom.coordinator..",
                    "org.shardloom.deploy..");

    @ArchTest
    static final ArchRule kernelsKnowNoOtherModuleAndNoActors = noClasses()
            .that()
            .resideInAPackage("org.shardloom.kernels..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(
                    "org.shardloom.protocol..",
                    "org.shardloom.worker..",
                    "org.shardloom.coordinator..",
                    "org.shardloom.deploy..",
                    AKKA);

    @ArchTest
    static final ArchRule coordinatorNeverTouchesATensor = noClasses()
            .that()
            .resideInAPackage("org.shardloom.coordinator..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("org.shardloom.kernels..", "org.shardloom.worker..", "org.shardloom.deploy..");

    @ArchTest
    static final ArchRule workerKnowsNeitherCoordinatorNorCommandLine = noClasses()
            .that()
            .resideInAPackage("org.shardloom.worker..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("org.shardloom.coordinator..", "org.shardloom.deploy..");

    @ArchTest
    static final ArchRule onlyTheActorPackageOfWorkersKnowsAkka = noClasses()
            .that()
            .resideInAPackage("org.shardloom.worker..")
            .and()
            .resideOutsideOfPackage("org.shardloom.worker.actor..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage(AKKA);

    @ArchTest
    static final ArchRule modelsKnowNoCollectivesAndNoCluster = noClasses()
            .that()
            .resideInAnyPackage("org.shardloom.worker.model..", "org.shardloom.worker.optim..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage(
                    "org.shardloom.kernels.collective..",
                    "org.shardloom.worker.zero..",
                    "org.shardloom.worker.loop..",
                    AKKA);

    @ArchTest
    static final ArchRule packagesHaveNoCycles = SlicesRuleDefinition.slices()
            .matching("org.shardloom.(*).(*)..")
            .should()
            .beFreeOfCycles();
}
