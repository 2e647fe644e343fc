// The language of kernels for g++, in place of CUDA's: a block is one OS thread, its threads are fibers that change places only where
// a thread waits for others; now one warp is ahead, now another. Not simulated: the memory model, lanes that run apart, occupancy.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __shared__ static thread_local
#define __constant__ static const
#define __align__(bytes) __attribute__((aligned(bytes)))

namespace sim {

struct Dim { unsigned x = 1, y = 1, z = 1; };

/** Waits until all threads of the block are at the same barrier. */
void blockBarrier(const void* site);
/** Waits until all lanes of the warp are here; bits are what each brings, the result is what the lane brought. */
uint64_t warpExchange(uint64_t bits, int lane, const void* site);
/** As warpExchange, for up to SHARE bytes of each lane: what lane i brought is at result + i * SHARE until the lane's next but one call. */
constexpr size_t SHARE = 64;
const unsigned char* warpShare(const void* mine, size_t bytes, const void* site);
/** Bytes that the launch asked for, NaN at first. */
unsigned char* dynamicShared();
/** Ends the launch unless the bytes are in shared memory that the launch asked for, and aligned. */
void requireShared(const void* from, size_t bytes, size_t alignment, const char* who);
/** Copies at once or when the thread awaits it, as the seed has it: what reads too early or overwrites too early is found by one of them. */
void copyLater(void* shared, const void* global, size_t bytes, bool there);
void commitCopies();
/** All copies but those of the last groups committed are done. */
void awaitCopies(int groups);
Dim& threadIndex();
Dim& blockIndex();
Dim& blockSize();
Dim& gridSize();

/** What a kernel does with an argument: where it leads to a constant, it is only read. */
enum Use : char { NUMBER, READ, WRITTEN };
template <class A> constexpr Use use() {
    return !std::is_pointer_v<A> ? NUMBER : std::is_const_v<std::remove_pointer_t<A>> ? READ : WRITTEN;
}

/** One kernel: its name, how to call it, and the sizes of its arguments. */
struct Kernel {
    const char* name;
    void* function;
    void (*call)(void* function, void** arguments);
    std::vector<int> sizes;
    std::vector<Use> uses;
};
std::vector<Kernel>& kernels();

template <class... A, size_t... I> void unpack(void (*f)(A...), void** a, std::index_sequence<I...>) { f(*static_cast<A*>(a[I])...); }
struct Register {
    template <class... A> Register(const char* name, void (*f)(A...)) {
        kernels().push_back({name, reinterpret_cast<void*>(f),
                             [](void* g, void** a) { unpack(reinterpret_cast<void (*)(A...)>(g), a, std::index_sequence_for<A...>{}); },
                             {int(sizeof(A))...}, {use<A>()...}});
    }
};

/** Runs the blocks one after the other in an order that depends on the seed; an empty string, or what went wrong. */
const char* run(const Kernel& kernel, void** arguments, Dim grid, Dim block, unsigned sharedBytes, uint64_t seed);

template <class T> inline T exchange(T value, int lane, const void* site) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = warpExchange(bits, lane, site);
    memcpy(&value, &bits, sizeof(T));
    return value;
}
}  // namespace sim

#define threadIdx sim::threadIndex()
#define blockIdx sim::blockIndex()
#define blockDim sim::blockSize()
#define gridDim sim::gridSize()
// The line tells barriers apart.
#define SIM_SITE (reinterpret_cast<const void*>(uintptr_t(__LINE__)))
#define __syncthreads() sim::blockBarrier(SIM_SITE)
#define __syncwarp() ((void)sim::warpExchange(0, 0, SIM_SITE))
#define __shfl_xor_sync(mask, value, bits) sim::exchange(value, int(threadIdx.x & 31) ^ (bits), SIM_SITE)

#define KERNEL(name, ...)                         \
    void name(__VA_ARGS__);                       \
    static sim::Register name##_entry(#name, name); \
    void name(__VA_ARGS__)
#define KERNEL_BOUNDED(threads, blocks, name, ...) KERNEL(name, __VA_ARGS__)
#define UNROLL
#define DYNAMIC_SHARED(T, v) T* v = reinterpret_cast<T*>(sim::dynamicShared())

typedef long long i64;
typedef unsigned long long u64;
struct bf16 { uint16_t bits; };
struct half { uint16_t bits; };
inline float widen(float x) { return x; }
inline float widen(bf16 x) { uint32_t u = uint32_t(x.bits) << 16; float f; memcpy(&f, &u, 4); return f; }
inline float widen(half x) {
    int exponent = x.bits >> 10 & 31, fraction = x.bits & 1023;
    float size = exponent == 31 ? (fraction ? NAN : INFINITY) : exponent ? ldexpf(float(fraction + 1024), exponent - 25) : ldexpf(float(fraction), -24);
    return x.bits & 0x8000 ? -size : size;
}
inline void narrow(float x, float& out) { out = x; }
inline void narrow(float x, bf16& out) {
    uint32_t u; memcpy(&u, &x, 4);
    out.bits = x != x ? 0x7fff : uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
inline void narrow(float x, half& out) {
    uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    float size = fabsf(x);
    if (x != x) out.bits = 0x7fff;
    else if (size >= 65520.0f) out.bits = sign | 0x7c00;
    else {
        int exponent = size < 6.103515625e-5f ? -14 : ilogbf(size);
        // The fraction carries into the exponent by itself: the fields are next to each other.
        out.bits = uint16_t(sign | (int(nearbyintf(ldexpf(size, 10 - exponent))) + ((exponent + 14) << 10)));
    }
}
#include "simulation_tensorcore.h"
