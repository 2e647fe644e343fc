// Runs the threads of a block as fibers on the calling OS thread.
#include "simulation.h"
#include <algorithm>
#include <random>
#include <string>
#include <sys/mman.h>

namespace sim {
namespace {

enum State { READY, AT_BARRIER, AT_WARP, DONE };
constexpr size_t STACK = 128 << 10;

/** A copy to shared memory that is on its way. */
struct Copy {
    void* to;
    const void* from;
    size_t bytes;
    int group;
};

struct Fiber {
    void* stackPointer;
    char* stack = nullptr;
    State state;
    const void* site;
    int phase;
    int group;  // of copies: how many were committed
    std::vector<Copy> copies;
};

struct Block {
    std::vector<Fiber> fibers;
    unsigned size = 0, running = 0, atBarrier = 0, done = 0;
    unsigned atWarp[32];
    unsigned char slots[2][1024][SHARE];
    void* scheduler;
    const Kernel* kernel;
    void** arguments;
    std::vector<unsigned char> shared;
    unsigned sharedBytes;
    uint64_t choices;  // of when copies are made
    std::string fault;
};

thread_local Block* block;
thread_local Dim thread_, block_, blockSize_, gridSize_;
thread_local std::string lastFault;

/** Saves the registers that a call must keep, and goes on where the other left. */
extern "C" void sim_switch(void** from, void* to);
asm(R"(
.text
.local sim_switch
.type sim_switch,@function
sim_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
.size sim_switch,.-sim_switch
)");

Fiber& current() { return block->fibers[block->running]; }
void leave() { sim_switch(&current().stackPointer, block->scheduler); }

void body() {
    block->kernel->call(block->kernel->function, block->arguments);
    current().state = DONE;
    block->done++;
    leave();
    __builtin_trap();
}

void carryOut(const Copy& copy) {
    if (copy.from) memcpy(copy.to, copy.from, copy.bytes);
    else memset(copy.to, 0, copy.bytes);
}

void prepare(Fiber& fiber) {
    if (!fiber.stack) fiber.stack = static_cast<char*>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    void** top = reinterpret_cast<void**>(fiber.stack + STACK) - 2;
    *top = reinterpret_cast<void*>(&body);  // a return address on an aligned stack, as after a call
    fiber.stackPointer = top - 6;
    fiber.state = READY;
    fiber.phase = fiber.group = 0;
    fiber.copies.clear();
}

void fault(const std::string& what) {
    if (block->fault.empty()) block->fault = std::string(block->kernel->name) + ": " + what;
}

/** Each lane of the warp up to where it waits; false where all wait already. */
bool runWarp(unsigned warp, unsigned firstLane) {
    Block& b = *block;
    bool moved = false;
    for (unsigned k = 0; k < 32 && b.fault.empty(); k++) {
        const unsigned i = warp * 32 + (firstLane + k) % 32;
        if (i >= b.size || b.fibers[i].state != READY) continue;
        moved = true;
        b.running = i;
        thread_ = {i, 0, 0};
        sim_switch(&b.scheduler, b.fibers[i].stackPointer);
    }
    return moved;
}

void runBlock(std::mt19937_64& random) {
    Block& b = *block;
    b.atBarrier = b.done = 0;
    std::fill(b.atWarp, b.atWarp + 32, 0);
    for (unsigned i = 0; i < b.size; i++) prepare(b.fibers[i]);
    const unsigned warps = (b.size + 31) / 32;
    while (b.done < b.size && b.fault.empty()) {
        // A warp goes on for some exchanges while the others stand: what a barrier is missing for shows when one is far ahead of another.
        const uint64_t choice = random();
        const unsigned firstWarp = unsigned(choice % warps), firstLane = unsigned(choice >> 32) % 32;
        bool moved = false;
        for (unsigned k = 0; k < warps && !moved; k++) {
            const unsigned warp = (firstWarp + k) % warps;
            for (int turns = 1 << (choice >> 40) % 9; turns > 0 && runWarp(warp, firstLane); turns--) moved = true;
        }
        if (!moved) fault("threads wait for others that will not come: a barrier or shuffle that not all of them reach");
    }
}
}  // namespace

std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

Dim& threadIndex() { return thread_; }
Dim& blockIndex() { return block_; }
Dim& blockSize() { return blockSize_; }
Dim& gridSize() { return gridSize_; }
unsigned char* dynamicShared() { return reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(block->shared.data()) + 63) & ~uintptr_t(63)); }

void blockBarrier(const void* site) {
    Block& b = *block;
    current().site = site;
    current().state = AT_BARRIER;
    if (++b.atBarrier == b.size) {
        for (unsigned i = 0; i < b.size; i++) {
            if (b.fibers[i].site != site) fault("threads of a block wait at different barriers");
            b.fibers[i].state = READY;
        }
        b.atBarrier = 0;
        if (b.fault.empty()) return;
    }
    leave();
}

const unsigned char* warpShare(const void* mine, size_t bytes, const void* site) {
    Block& b = *block;
    const unsigned warp = b.running / 32, base = warp * 32;
    Fiber& me = current();
    // Two sets of slots: who is in the next exchange already must not overwrite what others still read.
    const int phase = me.phase++ & 1;
    memcpy(b.slots[phase][b.running], mine, bytes);
    me.site = site;
    me.state = AT_WARP;
    if (++b.atWarp[warp] == 32) {
        for (unsigned i = base; i < base + 32; i++) {
            if (b.fibers[i].site != site) fault("lanes of a warp wait at different places");
            b.fibers[i].state = READY;
        }
        b.atWarp[warp] = 0;
        if (!b.fault.empty()) leave();
    } else {
        leave();
    }
    return block->slots[phase][base];
}

uint64_t warpExchange(uint64_t bits, int lane, const void* site) {
    memcpy(&bits, warpShare(&bits, sizeof bits, site) + lane * SHARE, sizeof bits);
    return bits;
}

void requireShared(const void* from, size_t bytes, size_t alignment, const char* who) {
    auto* start = static_cast<const unsigned char*>(from);
    const bool inside = start >= dynamicShared() && start + bytes <= dynamicShared() + block->sharedBytes;
    if (inside && reinterpret_cast<uintptr_t>(from) % alignment == 0) return;
    fault(std::string(who) + (inside ? " at an address that is not aligned" : " outside of the block's shared memory"));
    leave();
}

void copyLater(void* to, const void* from, size_t bytes, bool there) {
    requireShared(to, bytes, bytes, "an asynchronous copy");
    if (there && reinterpret_cast<uintptr_t>(from) % bytes) {
        fault("an asynchronous copy from an address that is not aligned");
        leave();
    }
    const Copy copy = {to, there ? from : nullptr, bytes, current().group};
    block->choices = block->choices * 6364136223846793005u + 1442695040888963407u;
    if (block->choices >> 63) carryOut(copy);
    else current().copies.push_back(copy);
}

void commitCopies() { current().group++; }

void awaitCopies(int groups) {
    Fiber& me = current();
    size_t done = 0;
    for (; done < me.copies.size() && me.copies[done].group < me.group - groups; done++) carryOut(me.copies[done]);
    me.copies.erase(me.copies.begin(), me.copies.begin() + done);
}

const char* run(const Kernel& kernel, void** arguments, Dim grid, Dim size, unsigned sharedBytes, uint64_t seed) {
    thread_local Block* mine = new Block;
    block = mine;
    block->kernel = &kernel;
    block->arguments = arguments;
    block->size = size.x;
    block->fault.clear();
    if (block->fibers.size() < size.x) block->fibers.resize(size.x);
    gridSize_ = grid;
    blockSize_ = size;
    std::mt19937_64 random(seed);
    const uint64_t count = uint64_t(grid.x) * grid.y * grid.z, first = random() % count;
    for (uint64_t k = 0; k < count && block->fault.empty(); k++) {
        const uint64_t i = (first + k) % count;
        block_ = {unsigned(i % grid.x), unsigned(i / grid.x % grid.y), unsigned(i / grid.x / grid.y)};
        block->shared.assign(sharedBytes + 64, 0xff);
        block->sharedBytes = sharedBytes;
        block->choices = seed + i;
        runBlock(random);
    }
    lastFault = block->fault;
    return lastFault.c_str();
}
}  // namespace sim
