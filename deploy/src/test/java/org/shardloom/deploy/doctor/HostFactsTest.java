package org.shardloom.deploy.doctor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HostFactsTest {
    @TempDir
    Path root;

    private void write(String name, String text) throws IOException {
        Path file = root.resolve(name);
        Files.createDirectories(file.getParent());
        Files.writeString(file, text);
    }

    @Test
    void whatLinuxWritesIsUnderstood() throws IOException {
        write("proc/meminfo", "MemTotal: 2000 kB\nMemAvailable:    1000 kB\nHugePages_Total:   0\nSwapFree: 10 kB\n");
        write(
                "proc/self/limits",
                "Limit                     Soft Limit           Hard Limit           Units     \n"
                        + "Max core file size        0                    unlimited            bytes     \n"
                        + "Max open files            1024                 524288               files     \n"
                        + "Max locked memory         unlimited            unlimited            bytes     \n");
        write("proc/self/smaps", "00400000-00401000 r-xp 0 08:01 1 /java\nSize: 4 kB\nKernelPageSize:        4 kB\n");
        write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        HostFacts facts = HostFacts.read(root);
        assertEquals(1000 << 10, facts.availableMemory());
        assertEquals(10 << 10, facts.freeSwap());
        assertTrue(facts.sharedMemory().isEmpty());
        assertEquals(0, facts.coreFile());
        assertEquals(1024, facts.openFiles());
        assertEquals(Long.MAX_VALUE, facts.lockedMemory());
        assertEquals(4096, facts.page());
        assertEquals("madvise", facts.hugePages());
    }

    /** The nearest limit counts, and what the group has cached can go. */
    @Test
    void aContainersMemoryIsItsControlGroups() throws IOException {
        write("proc/meminfo", "MemAvailable: 1000000 kB\n");
        write("proc/self/cgroup", "0::/a/b\n");
        write("sys/fs/cgroup/a/memory.max", "1000\n");
        write("sys/fs/cgroup/a/memory.current", "900\n");
        write("sys/fs/cgroup/a/memory.stat", "anon 500\nactive_file 100\ninactive_file 200\n");
        write("sys/fs/cgroup/a/b/memory.max", "max\n");
        write("sys/fs/cgroup/a/b/memory.current", "10\n");
        assertEquals(400, HostFacts.read(root).availableMemory());
    }

    @Test
    void aHostThatSaysNothingIsNotSmall() {
        HostFacts facts = HostFacts.read(root);
        assertEquals(Long.MAX_VALUE, facts.availableMemory());
        assertEquals(Long.MAX_VALUE, facts.openFiles());
        assertEquals("", facts.hugePages());
    }

    @Test
    void thisHostHasMemory() {
        HostFacts facts = HostFacts.read();
        assertTrue(facts.availableMemory() > 0 && facts.availableMemory() < Long.MAX_VALUE, facts.toString());
        assertTrue(facts.page() >= 4096, facts.toString());
    }
}
