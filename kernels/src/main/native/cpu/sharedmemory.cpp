// Memory shared between the processes of one host, and waiting on it. Segments are anonymous files (memfd): they have
// no name in any directory, so nothing is left behind however a process ends.
#include "common.h"
#include <cerrno>
#include <fcntl.h>
#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace shardloom {

int sharedCreate(int64_t bytes) {
    int fd = memfd_create("shardloom", MFD_CLOEXEC);
    if (fd < 0) return -errno;
    if (ftruncate(fd, bytes) != 0) { int e = errno; close(fd); return -e; }
    return fd;
}

/** Opens the segment that another process holds as descriptor fd. */
int sharedOpen(int pid, int fd) {
    std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
    int own = open(path.c_str(), O_RDWR | O_CLOEXEC);
    return own < 0 ? -errno : own;
}
int64_t sharedSize(int fd) { struct stat s; return fstat(fd, &s) == 0 ? int64_t(s.st_size) : -int64_t(errno); }
int64_t sharedMap(int fd, int64_t bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? -int64_t(errno) : reinterpret_cast<int64_t>(p);
}
void sharedUnmap(int64_t address, int64_t bytes) { munmap(at<void>(address), bytes); }
void sharedClose(int fd) { close(fd); }
/** Drops the pages from this process (not from the segment): they no longer count as its resident memory. */
void sharedRelease(int64_t address, int64_t bytes) { madvise(at<void>(address), bytes, MADV_DONTNEED); }

int64_t allocate(int64_t bytes) {
    void* p = nullptr;
    if (bytes >= (1 << 20)) {  // mapped directly, so that freeing gives the pages back at once
        size_t whole = size_t(bytes);
        const size_t more = bytes >= HUGE_PAGE ? HUGE_PAGE : 0;  // older kernels do not begin a mapping where a huge page does
        p = mmap(nullptr, whole + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return 0;
        if (more) {
            char* from = static_cast<char*>(p);
            const size_t before = (more - reinterpret_cast<size_t>(from) % more) % more, after = more - before, page = 4096;
            if (before) munmap(from, before);
            const size_t end = (before + whole + page - 1) / page * page;
            if (before + whole + after > end) munmap(from + end, before + whole + after - end);
            p = from + before;
            madvise(p, whole, MADV_HUGEPAGE);  // fewer faults and look-ups; a hint, so its answer does not matter
        }
        return reinterpret_cast<int64_t>(p);
    }
    return posix_memalign(&p, 64, bytes < 64 ? 64 : bytes) == 0 ? reinterpret_cast<int64_t>(p) : 0;
}
void release(int64_t address, int64_t bytes) {
    if (bytes >= (1 << 20)) munmap(at<void>(address), bytes);
    else free(at<void>(address));
}

static std::atomic<uint32_t>* word(int64_t address) { return at<std::atomic<uint32_t>>(address); }
void wordStore(int64_t address, int value) {
    word(address)->store(uint32_t(value), std::memory_order_release);
    syscall(SYS_futex, word(address), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

/** Waits until the word at address is at or past target (modulo 2^32): 0 reached, 1 aborted, 2 out of time. */
int wordAwait(int64_t address, int target, int64_t abortAddress, int64_t timeoutNanos) {
    auto reached = [&] { return int32_t(word(address)->load(std::memory_order_acquire) - uint32_t(target)) >= 0; };
    for (int spin = 0; spin < 200; spin++) {
        if (reached()) return 0;
        _mm_pause();
    }
    timespec start; clock_gettime(CLOCK_MONOTONIC, &start);
    while (true) {
        uint32_t seen = word(address)->load(std::memory_order_acquire);
        if (int32_t(seen - uint32_t(target)) >= 0) return 0;
        if (abortAddress && word(abortAddress)->load(std::memory_order_acquire)) return 1;
        timespec now; clock_gettime(CLOCK_MONOTONIC, &now);
        if ((now.tv_sec - start.tv_sec) * 1000000000LL + now.tv_nsec - start.tv_nsec > timeoutNanos) return 2;
        timespec slice{0, 20000000};  // an abort is noticed within 20 ms
        syscall(SYS_futex, word(address), FUTEX_WAIT, seen, &slice, nullptr, 0);
    }
}

/** Resident bytes of this process now, or its peak so far. */
int64_t residentBytes(bool peak) {
    FILE* f = fopen("/proc/self/status", "r");
    if (!f) return -1;
    char line[256]; long kib = -1;
    const char* key = peak ? "VmHWM:" : "VmRSS:";
    while (fgets(line, sizeof(line), f)) if (!strncmp(line, key, 6)) { sscanf(line + 6, "%ld", &kib); break; }
    fclose(f);
    return kib < 0 ? -1 : int64_t(kib) * 1024;
}

}  // namespace shardloom
