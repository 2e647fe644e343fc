// Types and helpers shared by every instruction-set variant. Kept free of floating-point code: what is
// compiled here is compiled for the baseline processor.
#pragma once
#include <cstdint>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <cmath>
#include <vector>
#include <atomic>
#include <initializer_list>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <immintrin.h>
#include <omp.h>

namespace shardloom {

/** Codes shared with org.shardloom.kernels.tensor.DType. */
enum DTypeCode : int { F32 = 0, BF16 = 1, F16 = 2 };

struct bf16 { uint16_t bits; };
struct half { uint16_t bits; };

inline size_t sizeOf(int dtype) { return dtype == F32 ? 4 : 2; }

template <class T> inline T* at(int64_t address) { return reinterpret_cast<T*>(address); }

/** Calls f with a null pointer of the element type that the code names. */
template <class F> inline void withType(int dtype, F&& f) {
    switch (dtype) {
        case F32: f(static_cast<float*>(nullptr)); break;
        case BF16: f(static_cast<bf16*>(nullptr)); break;
        case F16: f(static_cast<half*>(nullptr)); break;
        default: throw std::invalid_argument("unknown dtype code " + std::to_string(dtype));
    }
}

/** Memory of the system: 0 where there is none. Of a huge page or more, it is asked for in huge pages. */
constexpr int64_t HUGE_PAGE = 2 << 20;
int64_t allocate(int64_t bytes);
void release(int64_t address, int64_t bytes);

/** Scratch memory of the calling thread, kept between calls; slot separates uses that live at once. */
float* scratch(int slot, size_t floats);

enum class Isa { Baseline, Avx2, Avx512, Amx };
Isa isa();

/** How attention finds its rows: packed sequences, one row of q|k|v a token. */
struct AttentionShape {
    const int32_t* starts;    // [sequences + 1] first token of each sequence
    const int32_t* contexts;  // [sequences] how many tokens each sees whatever their position, or null: causal only
    int sequences, heads, groups, headSize;
    bool byHead;              // q, k, v of a head stand together; heads == groups then
    int64_t rowStride() const { return int64_t(heads + 2 * groups) * headSize; }
    int64_t queryColumn(int64_t head) const { return head * headSize * (byHead ? 3 : 1); }
    int64_t keyColumn(int64_t group) const { return (byHead ? 3 * group + 1 : heads + group) * headSize; }
    int64_t valueColumn(int64_t group) const { return (byHead ? 3 * group + 2 : heads + groups + group) * headSize; }
    /** How many keys, from the first, the token at that position of the sequence sees. */
    int64_t visible(int sequence, int64_t position) const {
        int64_t context = contexts ? contexts[sequence] : 0;
        return position + 1 > context ? position + 1 : context;
    }
};

/** Where keys and values are that outlive a call: k|v of a token a row, [rows, 2 groups * headSize]. */
struct AttentionCache {
    void* data;
    const int32_t* starts;  // [sequences] row of each sequence's first token
    const int32_t* past;    // [sequences] tokens of each sequence that are there already
};

/** How a head is rotated. Halves: pairs (i, i + n/2); two-dimensional: each half of the head so, by a position of its own. */
enum class Rotation : int { Halves = 0, Interleaved = 1, TwoDimensional = 2 };

struct AdamStep {
    float rate;
    double beta1, beta2;
    float eps, decay, correction1, correction2, gradScale;
};

/** The quantiles of a normal distribution that NF4's codes stand for (Dettmers et al., 2023, appendix E). */
constexpr float NF4_LEVELS[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f, -0.18477343022823334f,
    -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};
constexpr int64_t NF4_BLOCK = 64, ABSMAX_BLOCK = 256;

struct Matrix { const void* data; int dtype; int64_t rows, columns; };  // strides in elements

}  // namespace shardloom
