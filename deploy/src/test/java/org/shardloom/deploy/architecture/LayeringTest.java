package org.shardloom.deploy.architecture;

import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideInAPackage;
import static com.tngtech.archunit.core.domain.JavaClass.Predicates.resideOutsideOfPackage;
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
    static final ArchRule onlyEnginesSessionsAndActorsUseCollectives = noClasses()
            .that()
            .resideInAPackage("org.shardloom.worker..")
            .and()
            .resideOutsideOfPackages(
                    "org.shardloom.worker.zero..", "org.shardloom.worker.loop..", "org.shardloom.worker.actor..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("org.shardloom.kernels.collective..");

    @ArchTest
    static final ArchRule modelsAndTuningMethodsKnowNoParticularDevice = noClasses()
            .that()
            .resideInAnyPackage("org.shardloom.worker.model..", "org.shardloom.worker.tuning..")
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("org.shardloom.kernels.cpu..", "org.shardloom.kernels.cuda..");

    @ArchTest
    static final ArchRule onlyDeployKnowsTheCommandLine = noClasses()
            .that()
            .resideOutsideOfPackage("org.shardloom.deploy..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("picocli..");

    @ArchTest
    static final ArchRule scoresAreFunctionsOfTexts = noClasses()
            .that()
            .resideInAPackage("org.shardloom.worker.evaluate..")
            .should()
            .dependOnClassesThat(resideInAPackage("org.shardloom..")
                    .and(resideOutsideOfPackage("org.shardloom.worker.evaluate.."))
                    .or(resideInAPackage(AKKA)));

    @ArchTest
    static final ArchRule packagesHaveNoCycles = SlicesRuleDefinition.slices()
            .matching("org.shardloom.(*).(*)..")
            .should()
            .beFreeOfCycles();
}
